// What is compiled once for each instruction set, and the memory that it works in.
#ifndef SNN_EVENT_KERNELS_H
#define SNN_EVENT_KERNELS_H

#include <cstdint>
#include <vector>

#include "plan.h"

namespace snn {

// The memory of one value of one image. With C channels and rows of W pixels:
//
//   mask    [pixel][word]     see Form::kBits
//   counts  [pixel][channel]
//   events  a list for each row of pixels: x · C + channel of each spike, x ascending. Each list
//           holds up to max_row_events numbers and kListPadding more.
//   begins  [row][W + 1]: where the events of pixel x begin in the list of its row
//
//           begins   0     2  2        5
//                    |     |  |        |
//           events   e0 e1    e2 e3 e4   (kListPadding)
//           pixel    x = 0 |1 | x = 2
//
//   pairs   [row][x]: how many of a pixel's events come first that come again at its end, two spikes
//           of one channel; 0 also where a pixel's spikes are listed as they come
struct ValueBuffer {
  uint64_t *mask = nullptr;
  int32_t *counts = nullptr;
  uint32_t *events = nullptr;
  uint32_t *begins = nullptr;
  uint32_t *pairs = nullptr;  // of a value that has them, see Value
};

// One image on its way through the network.
struct Workspace {
  Array<uint8_t> memory;             // of all values
  std::vector<ValueBuffer> buffers;  // one a value, pointing into it
  Array<uint8_t>
      padded_image;   // [height + 2 · margin][width + 2 · margin][3]; the margin is offset
  int64_t index = 0;  // of the image in its batch
  float *logits = nullptr;
};

// One row of a source's pixels, as the windows of a row of output pixels need it.
struct Line {
  const uint32_t *begins, *events;
  int64_t row;  // the weight row of its first column and channel
};

// A thread's own memory.
struct Scratch {
  Array<Line> lines;
  Array<Line *> line_begins;  // [projection + 1]
  Array<uint32_t> rows;       // the weight rows of a block of pixels, one pixel after the other
  Array<int64_t> begins;      // [pixel + 1] where those of a pixel begin
  Array<int32_t> currents;    // [pixel][channel of the tile]
  Array<uint8_t> patches;     // [pixel] what it sees of the image, see image-inl.h
  Array<uint64_t> planes;     // spikes of each channel in an image, if they are asked for
};

constexpr int kElementsAtOnce = 16;  // of the image that are copied into a patch

struct Kernels {
  const char *name;
  int64_t vector_bytes;  // of a register; also the channels whose image weights are packed together
  int64_t max_tile_width;                  // channels
  int64_t roll_width4, roll_width8;        // channels of a tile that rolls; 0: such tiles do not
  int64_t roll_min_side4, roll_min_side8;  // of a map whose tiles roll
  bool scatters;                           // whether there is what scatter-inl.h says, of 4 bits
  bool interleaved;                        // whether lane_offset permutes rows
  int64_t byte_sum, byte_bias;             // kMaxSum and kBias of ByteProducts
  void (*execute)(const Plan &, const Phase &, int64_t unit, Workspace &, Scratch &);
  void (*run_fused)(const Plan &, const Layer &, int64_t band, Workspace &);  // its units are done
  void (*count_spikes)(const Layer &, int64_t band, const Workspace &, Scratch &);
  void (*take_counts)(const Plan &, Scratch &, int64_t *counts);
  double (*distance)(const int64_t *counts, const double *usual, int64_t channels);
  uint64_t (*read_bytes)(const int8_t *bytes, int64_t count);
};

// Where channel i of a tile lies in a row of 8-bit weights, in bytes. Interleaved, a vector of 2 L
// bytes holds channels 0 to L - 1 in its even bytes and L to 2 L - 1 in its odd ones:
//
//   byte      0   1    2   3        ...   2L-2  2L-1
//   channel   0   L    1   L+1      ...   L-1   2L-1
inline int64_t lane_offset(const Kernels &kernels, int64_t i) {
  const int64_t lanes = kernels.vector_bytes / 2, j = i % kernels.vector_bytes, chunk = i - j;
  if (!kernels.interleaved) return i;
  return chunk + (j < lanes ? 2 * j : 2 * (j - lanes) + 1);
}

// What is added to the weight of channel i: 128 in even bytes, so that the sum of a pair of bytes
// splits into two sums with one shift, see Accumulator8.
inline int64_t even_lane_bias(const Kernels &kernels, int64_t i) {
  return kernels.interleaved && i % kernels.vector_bytes < kernels.vector_bytes / 2 ? 128 : 0;
}

// Where channel i of a tile lies in a row of 4-bit weights. A vector of 2 L bytes holds 4 L
// channels:
//
//   byte          0    1    2     3    ...   2L-2   2L-1
//   low nibble    0    L    1    L+1   ...    L-1   2L-1
//   high nibble   2L   3L   2L+1 3L+1  ...   3L-1   4L-1
//
// A nibble holds its weight plus 8.
struct NibbleOffset {
  int64_t byte;
  int shift;
};

inline NibbleOffset nibble_offset(const Kernels &kernels, int64_t i) {
  const int64_t lanes = kernels.vector_bytes / 2, vector = i / (4 * lanes), quarter = i / lanes % 4,
                lane = i % lanes;
  return {vector * kernels.vector_bytes + 2 * lane + quarter % 2, quarter < 2 ? 0 : 4};
}

}  // namespace snn
#endif
