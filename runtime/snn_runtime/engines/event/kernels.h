// What is compiled once for each instruction set.
#ifndef SNN_EVENT_KERNELS_H
#define SNN_EVENT_KERNELS_H

#include <cstdint>

#include "plan.h"

namespace snn {

// Numbers that a kernel may read or write beyond the end of a list of events or rows.
constexpr uint32_t kExcess = 32;

// Where one value of one image lies while a network runs.
struct Room {
  uint64_t *mask = nullptr;     // [pixel][word]
  int32_t *counts = nullptr;    // [pixel][channel]
  uint32_t *events = nullptr;   // [row][…]: x · C + channel for each spike, in the order of x
  uint32_t *starts = nullptr;   // [row][width + 1]: where the events of a pixel begin in its row
};

// One image on its way through the network.
struct Workspace {
  Array<uint8_t> memory;    // of all values
  std::vector<Room> rooms;  // one a value
  Array<uint8_t> picture;   // [height + 2 · margin][width + 2 · margin][3], see Kernels::taken
  int64_t index = 0;        // of the image in its batch
  const uint8_t *image = nullptr;
  float *logits = nullptr;
};

// A line of a source under the windows of an output row.
struct Line {
  const uint32_t *starts, *events;
  int64_t row;  // the weight row of its first column and channel
};

// What a thread needs for itself.
struct Scratch {
  Array<Line> lines;
  Array<Line *> begin_lines;  // [projection + 1]
  Array<uint32_t> rows;      // weight rows of a block of pixels, one after the other
  Array<int64_t> begins;     // [pixel + 1] where those of a pixel begin
  Array<int32_t> currents;   // [pixel][width]
};

struct Kernels {
  const char *name;
  int64_t vector;    // bytes; also how many channels' image weights are packed together
  int64_t widest;    // tile
  bool interleaved;  // how a row is permuted, see simd.h
  // Numbers of the image multiplied at once: 2 if it is kept as 16 bits less the offset, 4 if as bytes. Bytes
  // cannot be negative, so then the offset is what lies around the picture and is subtracted from the sums.
  int64_t taken;
  void (*execute)(const Plan &, const Stage &, int64_t unit, Workspace &, Scratch &);
  void (*finish)(const Plan &, const Layer &, int64_t band, Workspace &);  // once all its units are done
  uint64_t (*read)(const int8_t *bytes, int64_t count);
};

// Where channel i of a tile lies in its rows, in bytes.
inline int64_t place(const Kernels &kernels, int64_t i) {
  const int64_t half = kernels.vector / 2, j = i % kernels.vector, chunk = i - j;
  if (!kernels.interleaved) return i;
  return chunk + (j < half ? 2 * j : 2 * (j - half) + 1);
}

// The same if weights have four bits: of each vector the low halves of the even bytes come first, then those of
// the odd bytes, then the high halves.
struct HalfPlace {
  int64_t byte;
  int shift;
};

inline HalfPlace half_place(const Kernels &kernels, int64_t i) {
  const int64_t lanes = kernels.vector / 2, vector = i / (4 * lanes), quarter = i / lanes % 4, lane = i % lanes;
  return {vector * kernels.vector + 2 * lane + quarter % 2, quarter < 2 ? 0 : 4};
}

// Even bytes carry 128 more, so that a pair of bytes splits into its halves with one shift.
inline int64_t surplus(const Kernels &kernels, int64_t i) {
  return kernels.interleaved && i % kernels.vector < kernels.vector / 2 ? 128 : 0;
}

#if defined(__x86_64__)
extern const Kernels kernels_avx512vnni, kernels_avx512, kernels_avx2, kernels_baseline;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
#else
extern const Kernels kernels_baseline;
#endif

}  // namespace snn
#endif
