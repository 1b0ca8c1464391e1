// A graph made ready to run: shapes and bounds checked, weights packed into rows, phases in order.
#ifndef SNN_EVENT_PLAN_H
#define SNN_EVENT_PLAN_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine.h"
#include "memory.h"

namespace snn {

struct Kernels;

struct Shape {
  int64_t channels = 0, height = 0, width = 0;
  int64_t levels = 1;  // spikes that a channel may send as a mask; a count has no levels
  int64_t pixels() const { return height * width; }
  int64_t level_words() const { return (channels + 63) / 64; }  // 64-bit words of a level's mask
  int64_t words() const { return levels * level_words(); }      // of a pixel's mask
};

// How a value is stored.
//
//   kImage   bytes [height][width][3], as the caller gives them
//   kBits    a mask [pixel][level][word]: bit c % 64 of word c / 64 is channel c. Most have one level;
//            where a neuron has more, a bit of a higher one is set only where all below it are
//
//            pixel 0                    pixel 1
//            | c 0..63 | c 64..127 |    | c 0..63 | c 64..127 |  ...
//
//   kSum     not stored: its events are read off the masks of its terms
//   kCounts  int32 [pixel][channel], for what is neither (a maximum of sums)
//
// What sends no more than its levels is kBits.
enum class Form { kImage, kBits, kSum, kCounts };

// Part of a sum: how many bits of a value of form kBits are set in a window.
struct Term {
  int32_t base;    // the value
  int64_t window;  // side of the windows that tile it
};

// What the image or a node sends.
struct Value {
  Shape shape;
  Form form = Form::kBits;
  int64_t max_value = 1;         // of a channel of a pixel
  int32_t kind = 0;              // snn_kind of its node
  std::vector<int32_t> sources;  // of a node without weights
  int64_t kernel = 1;            // of a pool
  std::vector<Term> terms;       // of a sum
  bool needs_events = false;     // a projection reads its events
  bool pairs = false;            // and adds a neuron's second spike by doubling, see scatter-inl.h
  int64_t max_row_events = 0;    // events of one row of pixels at most

  // Its rows can be had as soon as those of this value are there, if it is not stored itself.
  int32_t last_base() const {
    int32_t last = -1;
    for (const Term &term : terms) last = term.base > last ? term.base : last;
    return last;
  }
};

struct Geometry {
  int32_t value;  // the source
  int64_t kernel_height, kernel_width, stride_y, stride_x, padding_y, padding_x, groups;
  int64_t weight;  // where in the graph's weights its own begin
};

// A projection that leads from each neuron to the one at its place, as around a residual block: a
// depthwise 1x1 convolution of a mask. Its events are not listed. A neuron whose source fired is
// compared with its threshold less the weight.
struct Shortcut {
  int32_t value = -1;               // the source; -1: the layer has none
  const int8_t *weights = nullptr;  // [channel], of the graph, while the plan is made
  Array<int16_t> thresholds16;      // [level][channel] less the weight
  Array<int32_t> thresholds32;
};

// The weight rows of one projection in one tile, [ky][kx][source channel]. A tile within one group
// of a grouped convolution has rows for that group's source channels only.
struct RowBlock {
  int64_t first_channel, channels;  // of the source
  int64_t first_row;
};

// Some output channels of a layer. Their currents are held in registers at once.
//
// `rows` holds one weight row for each input that may fire, of `width` weights each:
//
//   projection 0:  ky 0, kx 0:  source channel 0:  | weights to output channels, `row_bytes()` |
//                               source channel 1:  | ...                                       |
//                  ky 0, kx 1:  source channel 0:  | ...                                       |
//                  ...
//   projection 1:  ...
//
// A layer that rolls has its rows by source channel, [channel][ky][kx].
//
// How channels lie within a row: see lane_offset and nibble_offset in kernels.h.
struct Tile {
  int64_t first_channel = 0;
  int64_t width = 0;        // 64, 128, 256 or 512; channels beyond the layer's have weights of 0
  int32_t bits = 8;         // of a weight: 4 where all of the layer's fit and a row fills vectors
  int64_t event_limit = 0;  // any so many events sum to what fits 16 bits
  int64_t cell_limit = 0;   // rows whose sum in a cell surely fits, see roll-inl.h
  std::vector<RowBlock> row_blocks;  // one a spike projection
  int8_t *rows = nullptr;            // in the plan's arena
  Array<int8_t> image_weights;       // see pack_image in pack.cpp
  int64_t row_bytes() const { return width * bits / 8; }
};

// kCompute fills the mask or the counts of a node without weights.
enum class Step { kLayer, kCompute, kCompressEvents };

// A step on the rows of a value that directly follows the layer, band by band. Each of its rows
// needs `scale` rows of the layer.
struct FusedStep {
  Step step;
  int32_t value;
  int64_t scale;
};

// Where a layer finds its weights: in a core's first-level cache as soon as they were read once, in
// the second-level cache, or beyond it. Decides how early a row is prefetched.
enum class Residency { kL1, kL2, kBeyondL2 };

// The currents that an image can cause in a channel, and what they are less than the sum over a
// patch, whose elements lack neither offset nor bias: see image_initial.
struct ImageRange {
  int64_t lowest = 0, highest = 0, shift = 0;
};

constexpr int64_t kRollMargin = 2;  // columns of sums beside an output row, see roll-inl.h

// A population, or the readout.
struct Layer {
  int32_t value = -1;  // its output; -1: the readout
  Shape shape;
  int64_t neuron_offset = 0;  // neurons of the populations before it
  // Where the planes of its counts begin, and how many digits a count has, see count-inl.h.
  int64_t plane_offset = 0;
  int digits = 0;
  std::vector<Geometry> spike_inputs, image_inputs;
  Shortcut shortcut;
  std::vector<Tile> tiles;
  Array<int16_t> thresholds16;  // [level][channel] clamped to 16 bits, see set_thresholds
  Array<int32_t> thresholds32;  // [level][channel]
  // Sums over the image: four bytes of a patch are a group, and so many sum to what fits.
  int64_t patch_element_bytes = 0, patch_groups = 0, groups_at_once = 0;
  int64_t patch_bytes = 0;               // from patch to patch
  std::vector<ImageRange> image_ranges;  // [channel]
  // Where thresholds differ by position, pixels with equal ones form a class; there are few, for
  // only pixels near the border differ.
  bool per_position = false;
  Array<int32_t> position_class;  // [pixel]
  Array<int32_t> image_initial;   // [class][channel] initial value of the sums over the image
  Array<int32_t> image_levels;    // [level - 1][channel] what they exceed where higher levels fire
  bool rolls = false;             // input-stationary, see roll-inl.h; else its rows are gathered
  bool may_scatter = false;       // and a whole map of it may, see scatter-inl.h
  bool grouped = false;  // tiles read different source channels, so each gathers its own events
  Residency residency = Residency::kL1;
  bool far = false;  // weights are too many to be read again soon, so tiles are cut for that
  int64_t max_pixel_events = 0;  // events under one output pixel at most
  int64_t band_rows = 1;         // rows of output pixels in a unit of work
  int64_t block_pixels = 1;      // output pixels that go through a tile together
  int64_t tile_parts = 1;        // units that share the tiles of a band: 1, or one for each tile
  std::vector<FusedStep> fused;  // done as soon as all tiles of a band are done
  // Whether sums over the image are compared where they are made, for nothing is added.
  bool fires_from_image() const { return spike_inputs.empty(); }
  // Whose sums are kept where it rolls.
  int64_t rolled_pixels() const {
    const int64_t rows = std::min(spike_inputs[0].kernel_height, shape.height);
    return rows * (shape.width + 2 * kRollMargin);
  }
  int64_t bands() const { return (shape.height + band_rows - 1) / band_rows; }
};

// Where the parts of a value lie in a workspace, in bytes; -1: not stored.
struct ValueOffsets {
  int64_t mask, counts, events;
};

// Work that threads share: its units may run in any order once the phase before is complete.
struct Phase {
  Step step;
  int32_t index;  // of the layer or value
  int64_t units;
  int64_t unit_rows;  // rows of a unit; 0 for a layer, which has bands
};

struct Plan {
  const Kernels *kernels = nullptr;
  int32_t threads = 1;
  int64_t margin_y = 0, margin_x = 0;  // pixels of padding around the image
  int64_t offset[3] = {};              // subtracted from each colour
  Arena weights;
  std::vector<Value> values;  // 0 is the image
  std::vector<Layer> layers;  // the last is the readout
  std::vector<Phase> phases;
  std::vector<ValueOffsets> value_offsets;  // one a value
  int64_t value_bytes = 0;                  // of the values of one image, see layout.cpp
  std::vector<float> scale, bias;
  int64_t classes = 0;
  int64_t channels = 0, plane_words = 0;  // of all populations
  // What a thread's scratch memory must hold.
  int64_t max_events = 0, max_currents = 0, max_pixels = 0, max_lines = 0, max_projections = 0,
          max_patch_bytes = 0;

  // From row to row of the padded image.
  int64_t padded_row_bytes() const { return (values[0].shape.width + 2 * margin_x) * 3; }
  int64_t padded_image_bytes() const {
    return (values[0].shape.height + 2 * margin_y) * padded_row_bytes();
  }
  // Memory of one image while it runs.
  int64_t workspace_bytes() const { return value_bytes + padded_image_bytes(); }
};

// Throws std::runtime_error with a sentence, or std::bad_alloc.
Plan make_plan(const snn_graph &graph, const Kernels &kernels, int32_t threads);

}  // namespace snn
#endif
