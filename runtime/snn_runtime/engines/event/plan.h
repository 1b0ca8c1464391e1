// A graph made ready to run: who sends what in which form, weights packed into rows, stages in order.
#ifndef SNN_EVENT_PLAN_H
#define SNN_EVENT_PLAN_H

#include <cstdint>
#include <vector>

#include "engine.h"
#include "memory.h"

namespace snn {

struct Kernels;

struct Shape {
  int64_t channels, height, width;
  int64_t pixels() const { return height * width; }
  int64_t words() const { return (channels + 63) / 64; }  // of a pixel's mask
};

// How a value lies in memory. Bits: [pixel][word], 64 channels a word. Sum: nowhere, its events are read
// off the bits below it. Counts: [pixel][channel], for what is neither (a maximum of sums).
enum class Form { kImage, kBits, kSum, kCounts };

// What the image or a node sends.
struct Value {
  Shape shape;
  Form form = Form::kBits;
  int64_t largest = 1;      // number it sends
  int32_t source = -1;      // of a pool
  int64_t kernel = 1;       // of a pool
  int32_t base = -1;        // of a sum: whose bits it counts
  int64_t window = 1;       // of a sum: side of its windows on `base`
  bool heard = false;       // some projection reads its events
  int64_t row_events = 0;   // the most one of its rows can hold
};

struct Geometry {
  int32_t value;  // the source
  int64_t kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x, groups;
};

// The rows of one projection in one tile: [ky][kx][channel of the range].
struct Span {
  int64_t channel, range;  // source channels that the tile's outputs can hear
  int64_t row;             // the first
};

// Some output channels of a layer, whose currents are held in registers at once.
struct Tile {
  int64_t channel;          // the first
  int64_t width;            // 64, 128, 256 or 512; channels beyond the layer's have weights of 0
  int32_t bits = 8;         // of a weight in its rows: 4 where all of the layer's fit, and a row fills vectors
  int64_t limit;            // events whose sum surely fits 16 bits
  std::vector<Span> spans;  // one a spike projection
  int8_t *rows = nullptr;   // [row][stride], permuted as the kernels want; in the plan's arena
  Array<int8_t> dense;      // weights on the image, see pack_image
  Array<int32_t> start;     // [channel] what the sum of the image's part begins with
  int64_t stride() const { return width * bits / 8; }  // bytes from row to row
};

enum class Step { kPicture, kLayer, kAny, kMaximum, kCount, kEvents };

// A step on the rows of a value, each of which needs `scale` rows of the layer before it.
struct Tail {
  Step step;
  int32_t value;
  int64_t scale;
};

// Where a layer's weights lie when they are needed: in the caches of a core, at the edge of them, or beyond,
// where rows must be asked for long before.
enum class Distance { kHere, kNear, kFar };

// A population, or the readout.
struct Layer {
  int32_t value = -1;  // what it fills; -1: the readout
  Shape shape;
  int64_t before = 0;  // neurons of the populations before it
  std::vector<Geometry> spikes, image;
  std::vector<Tile> tiles;
  Array<int16_t> narrow;  // [channel] thresholds, limited to what 16 bits can exceed or not
  Array<int32_t> wide;    // [channel]
  Array<int32_t> starts;  // [kind][channel] where thresholds differ by position: less floor(θ), what a sum begins with
  Array<int32_t> kinds;   // [pixel] and which of them that is; there are few, for most positions are alike
  bool positions = false;
  bool grouped = false;   // tiles hear different channels, so each gathers its own events
  Distance distance = Distance::kHere;
  int64_t pixel_events = 0;  // the most that can reach one output pixel
  int64_t rows = 1;          // of output pixels in a unit of work
  int64_t block = 1;         // output pixels that go through a tile together
  int64_t parts = 1;         // units the tiles are dealt out to: 1, or one for each
  std::vector<Tail> tails;   // what can be done as soon as all tiles of some rows are done
  int64_t bands() const { return (shape.height + rows - 1) / rows; }
};

// Where a value's parts lie in a workspace, in bytes; -1: it has none, or nobody reads them.
struct Places {
  int64_t mask, counts, list;
};

// Work that can be shared: its units may run in any order once the stage before is complete.
struct Stage {
  Step step;
  int32_t index;  // of the layer or value
  int64_t units;
  int64_t chunk;  // rows of a unit; of a layer, 0
};

struct Plan {
  const Kernels *kernels;
  int32_t threads;
  int64_t margin_y = 0, margin_x = 0;  // zeros around the picture
  int64_t offset[3];
  Arena weights;
  std::vector<Value> values;  // 0 is the image
  std::vector<Layer> layers;  // the last is the readout
  std::vector<Stage> stages;
  std::vector<Places> places;  // one a value
  int64_t room = 0;            // bytes that the values of one image take, where those that never meet share them
  std::vector<float> scale, bias;
  int64_t classes = 0;
  int64_t most_events = 0, most_currents = 0, most_pixels = 0, most_lines = 0, most_projections = 0;  // at once

  int64_t colour_bytes() const;    // of one colour of one pixel
  int64_t picture_stride() const;  // bytes from row to row
  int64_t takes(const Geometry &image) const;  // of the numbers in a line of a kernel on the image
};

// Throws std::runtime_error with a sentence, or std::bad_alloc.
Plan make_plan(const snn_graph &graph, const Kernels &kernels, int32_t threads);

}  // namespace snn
#endif
