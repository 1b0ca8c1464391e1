#include "pack.h"

#include <algorithm>
#include <cstring>

#include "bounds.h"
#include "check.h"
#include "kernels.h"
#include "tuning.h"

namespace snn {
namespace {

// Where a weight goes within the rows, and how it is stored. Arithmetic is that of bytes, modulo
// 256.
struct Lane8 {
  int64_t offset;
  uint8_t bias;
  Lane8(const Kernels &kernels, int64_t channel)
      : offset(lane_offset(kernels, channel)),
        bias(static_cast<uint8_t>(even_lane_bias(kernels, channel))) {}
  void put(int8_t *row, uint8_t weight) const { row[offset] = static_cast<int8_t>(weight + bias); }
};

// Adds the weight to the 8 that its nibble holds.
struct Lane4 {
  int64_t offset;
  uint8_t factor;
  Lane4(const Kernels &kernels, int64_t channel) {
    const NibbleOffset nibble = nibble_offset(kernels, channel);
    offset = nibble.byte;
    factor = static_cast<uint8_t>(1 << nibble.shift);
  }
  void put(int8_t *row, uint8_t weight) const {
    row[offset] = static_cast<int8_t>(row[offset] + weight * factor);
  }
};

class Packer {
 public:
  Packer(Plan &plan, const snn_graph &graph) : plan_(plan), graph_(graph) {}

  void pack(Layer &layer, int32_t n) {
    int64_t rows = 0;
    for (const Geometry &g : layer.spike_inputs) {
      rows += g.kernel_height * g.kernel_width * plan_.values[g.value].shape.channels;
    }
    const bool small = fit_four_bits(plan_, graph_, layer);
    const int64_t bytes = rows * layer.shape.channels / (small ? 2 : 1);
    layer.residency = bytes > kBeyondL2Bytes   ? Residency::kBeyondL2
                      : bytes > kBeyondL1Bytes ? Residency::kL2
                                               : Residency::kL1;
    layer.far = bytes > kFarBytes;
    layer.rolls = rolls(layer, small);
    layer.may_scatter = small && layer.rolls && may_scatter(layer);
    if (layer.may_scatter) {
      Value &from = plan_.values[layer.spike_inputs[0].value];
      // Several threads mostly roll a part of the map each.
      from.pairs = plan_.threads == 1 && from.form == Form::kBits && from.shape.levels > 1;
    }
    choose_products(layer);
    const int64_t widest = tile_width(layer, small), channels = layer.shape.level_words() * 64;
    for (int64_t channel = 0; channel < channels;) {
      int64_t width = widest;
      while (width > channels - channel) width /= 2;
      Tile tile;
      tile.first_channel = channel;
      tile.width = width;
      tile.bits = small && width >= 2 * plan_.kernels->vector_bytes ? 4 : 8;
      pack_spikes(layer, tile, n);
      pack_image(layer, tile);
      layer.tiles.push_back(std::move(tile));
      channel += width;
    }
  }

 private:
  // Too few channels for a vector of 4-bit weights have 8 bits.
  int64_t roll_width(const Layer &layer, bool small) const {
    const bool fill = small && plan_.kernels->roll_width4 <= layer.shape.level_words() * 64;
    return fill ? plan_.kernels->roll_width4 : plan_.kernels->roll_width8;
  }

  // Whether input-stationary code is there for the layer, and faster.
  bool rolls(const Layer &layer, bool small) const {
    if (layer.value < 0 || !layer.image_inputs.empty() || layer.spike_inputs.size() != 1)
      return false;
    const Geometry &g = layer.spike_inputs[0];
    const int64_t width = roll_width(layer, small);
    const int64_t side = small && width == plan_.kernels->roll_width4
                             ? plan_.kernels->roll_min_side4
                             : plan_.kernels->roll_min_side8;
    return g.kernel_width == 3 && g.stride_y == 1 && g.stride_x == 1 && g.groups == 1 &&
           width > 0 && width <= layer.shape.level_words() * 64 &&
           layer.rolled_pixels() <= kMaxRollSums / width &&
           std::min(layer.shape.height, layer.shape.width) >= side;
  }

  // Whether a layer that rolls has what scatter-inl.h is written for.
  bool may_scatter(const Layer &layer) const {
    const Geometry &g = layer.spike_inputs[0];
    return plan_.kernels->scatters && g.kernel_height == 3 && g.padding_y == 1 &&
           g.padding_x == 1 && layer.shape.pixels() <= kPairsMaxPixels;
  }

  // What is traded is said in tuning.h.
  int64_t tile_width(const Layer &layer, bool small) const {
    if (layer.rolls) return roll_width(layer, small);
    if (layer.grouped) return kGroupedTileWidth;
    const int64_t pixels = layer.shape.pixels(), wanted = kUnitsPerThread * plan_.threads;
    const bool halves =
        layer.residency == Residency::kBeyondL2 && plan_.kernels->max_tile_width == kWidestTile;
    const int64_t far_width = small && !halves ? kFarTileWidth4 : kFarTileWidth8;
    const bool far = layer.far, few = pixels < kFarTileMinPixels;
    int64_t width = far && few ? kWidestTile : plan_.kernels->max_tile_width;
    if (!layer.image_inputs.empty()) width = std::min(width, kImageTileWidth);
    if (far && !few) width = std::min(width, far_width);
    if (plan_.threads > 1 && (far || pixels <= kSplitTileMaxPixels)) {
      const int64_t least =
          std::max<int64_t>(far ? std::min(far_width / 2, plan_.kernels->max_tile_width) : 64,
                            small ? 2 * plan_.kernels->vector_bytes : 0);
      while (width > least && layer.shape.channels < wanted * width) width /= 2;
    }
    return width;
  }

  // The rows that are drawn at Tile.
  void pack_spikes(const Layer &layer, Tile &tile, int32_t n) {
    int64_t rows = 0;
    const int64_t last = std::min(tile.first_channel + tile.width, layer.shape.channels) - 1;
    for (const Geometry &g : layer.spike_inputs) {
      const int64_t inputs = plan_.values[g.value].shape.channels / g.groups;
      const int64_t outputs = layer.shape.channels / g.groups;
      const int64_t first = tile.first_channel / outputs, groups = last / outputs - first + 1;
      tile.row_blocks.push_back({first * inputs, groups * inputs, rows});
      rows = rows + checked_product(g.kernel_height * g.kernel_width, groups * inputs, n);
    }
    require(rows < INT32_MAX, n, "holds more than this engine takes");
    tile.rows = plan_.weights.allocate(static_cast<size_t>(rows * tile.row_bytes()));
    if (tile.bits == 4 || layer.grouped || last + 1 < tile.first_channel + tile.width)
      clear(tile, rows);
    for (size_t p = 0; p < layer.spike_inputs.size(); p++) {
      if (tile.bits == 4)
        transpose<Lane4>(layer, tile, layer.spike_inputs[p], tile.row_blocks[p], last);
      else
        transpose<Lane8>(layer, tile, layer.spike_inputs[p], tile.row_blocks[p], last);
    }
    tile.event_limit = INT32_MAX;
    for (int64_t o = tile.first_channel; o <= last; o++) {
      tile.event_limit = std::min(tile.event_limit, event_limit(plan_, graph_, layer, o));
    }
    if (!layer.rolls) return;
    tile.cell_limit = tile.event_limit;
    for (int64_t o = tile.first_channel; o <= last && tile.bits == 4; o++) {
      tile.cell_limit =
          std::min(tile.cell_limit, cell_limit(plan_, graph_, layer.spike_inputs[0], o));
    }
  }

  // Fills the rows with weights of zero as they are stored: 8 in each nibble, or a byte's bias.
  void clear(Tile &tile, int64_t rows) const {
    std::vector<int8_t> zeros(tile.row_bytes(), static_cast<int8_t>(0x88));
    for (int64_t i = 0; tile.bits == 8 && i < tile.width; i++) {
      zeros[lane_offset(*plan_.kernels, i)] =
          static_cast<int8_t>(even_lane_bias(*plan_.kernels, i));
    }
    for (int64_t row = 0; row < rows; row++) {
      std::copy(zeros.begin(), zeros.end(), tile.rows + row * tile.row_bytes());
    }
  }

  // From [output][input][tap] to rows [tap][input], in squares small enough to stay in L1:
  //
  //   weights   input 0: tap 0, tap 1, ...  input 1: ...      rows     output 0  output 1  ...
  //   output 0             a      c                      ->   tap 0, input 0   a         b
  //   output 1             b      d                           tap 0, input 1   ...
  template <class Lane>
  void transpose(const Layer &layer, Tile &tile, const Geometry &g, const RowBlock &block,
                 int64_t last) const {
    const int64_t taps = g.kernel_height * g.kernel_width;
    const int64_t inputs = plan_.values[g.value].shape.channels / g.groups;
    const int64_t outputs = layer.shape.channels / g.groups, size = inputs * taps;
    for (int64_t o = tile.first_channel; o <= last; o += kTransposeSquare) {
      const int64_t count = std::min(kTransposeSquare, last + 1 - o);
      std::vector<Lane> lanes;
      for (int64_t i = 0; i < count; i++) {
        lanes.emplace_back(*plan_.kernels, o + i - tile.first_channel);
        const int64_t first_input = (o + i) / outputs * inputs;  // of its group
        lanes.back().offset +=
            (block.first_row + first_input - block.first_channel) * tile.row_bytes();
      }
      const int8_t *from = graph_.weights + g.weight + o * size;
      for (int64_t begin = 0; begin < size; begin += kTransposeSquare) {
        for (int64_t k = begin; k < std::min(size, begin + kTransposeSquare); k++) {
          const int64_t r = layer.rolls ? k : k % taps * block.channels + k / taps;
          int8_t *row = tile.rows + r * tile.row_bytes();
          for (int64_t i = 0; i < count; i++)
            lanes[i].put(row, static_cast<uint8_t>(from[i * size + k]));
        }
      }
    }
  }

  // Calls visit(element of the patch, weight, colour) for each weight on the image of channel `o`.
  template <class Visit>
  void visit_image_weights(const Layer &layer, int64_t o, Visit visit) const {
    int64_t first_element = 0;
    for (const Geometry &g : layer.image_inputs) {
      const int64_t taps = g.kernel_height * g.kernel_width;
      const int64_t inputs = 3 / g.groups, outputs = layer.shape.channels / g.groups;
      const int8_t *weight = graph_.weights + g.weight + o * inputs * taps;
      for (int64_t c = o / outputs * inputs, last = c + inputs; c < last; c++) {
        for (int64_t tap = 0; tap < taps; tap++)
          visit(first_element + tap * 3 + c, int64_t{*weight++}, c);
      }
      first_element += taps * 3;
    }
  }

  // Whether the image's elements are bytes, and how many groups of four a sum of 16 bits takes: the
  // largest that a pair of weights can make of two bytes is counted.
  void choose_products(Layer &layer) const {
    int64_t elements = 0;
    for (const Geometry &g : layer.image_inputs) elements += g.kernel_height * g.kernel_width * 3;
    if (elements == 0) return;
    const int64_t bias = plan_.kernels->byte_bias, bytes_groups = (elements + 3) / 4;
    int64_t largest = 1;
    layer.image_ranges.resize(static_cast<size_t>(layer.shape.channels));
    for (int64_t o = 0; o < layer.shape.channels; o++) {
      std::vector<int64_t> highest(static_cast<size_t>(2 * bytes_groups)), lowest = highest;
      ImageRange &range = layer.image_ranges[o];
      visit_image_weights(layer, o, [&](int64_t element, int64_t weight, int64_t c) {
        const auto ends =
            std::minmax({-weight * plan_.offset[c], weight * (255 - plan_.offset[c])});
        range.lowest += ends.first;
        range.highest += ends.second;
        const auto own = std::minmax({-weight * bias, weight * (255 - bias)});
        lowest[element / 2] -= own.first;
        highest[element / 2] += own.second;
      });
      for (const auto &sums : {lowest, highest})
        largest = std::max(largest, *std::max_element(sums.begin(), sums.end()));
    }
    const int64_t at_once = std::min(bytes_groups, plan_.kernels->byte_sum / largest);
    const bool bytes = at_once >= std::min(bytes_groups, kMinByteGroups);
    layer.patch_element_bytes = bytes ? 1 : 2;
    layer.patch_groups = bytes ? bytes_groups : (elements + 1) / 2;
    layer.patch_bytes = 4 * layer.patch_groups + kElementsAtOnce * layer.patch_element_bytes;
    layer.groups_at_once = bytes ? at_once : layer.patch_groups;
    for (int64_t o = 0; o < layer.shape.channels; o++) {
      visit_image_weights(layer, o, [&](int64_t, int64_t weight, int64_t c) {
        layer.image_ranges[o].shift += weight * ((bytes ? bias : 0) - plan_.offset[c]);
      });
    }
  }

  // The weights on the image. Patches are cut into groups of four bytes, which hold four elements or
  // two; those beyond the patch have weights of 0. For each vector_bytes channels V:
  //
  //   group 0:  channel 0: w of elements 0, 1 (, 2, 3) | channel 1: ... | ... | channel V - 1
  //   group 1:  channel 0: w of elements 2, 3 ...
  //
  // Groups of the convolution become zeros, for an image has three channels only.
  void pack_image(const Layer &layer, Tile &tile) const {
    const int64_t vector = plan_.kernels->vector_bytes, bytes = layer.patch_element_bytes,
                  block = layer.patch_groups * 4 * vector;
    if (layer.image_inputs.empty()) return;
    tile.image_weights = Array<int8_t>(static_cast<size_t>(tile.width / vector * block));
    for (int64_t i = 0; i < tile.width && tile.first_channel + i < layer.shape.channels; i++) {
      int8_t *const to = tile.image_weights.get() + i / vector * block + i % vector * 4;
      visit_image_weights(layer, tile.first_channel + i,
                          [&](int64_t element, int64_t weight, int64_t) {
                            const int64_t byte = element * bytes;
                            const int16_t word = static_cast<int16_t>(weight);  // low byte first
                            std::memcpy(to + byte / 4 * 4 * vector + byte % 4, &word, bytes);
                          });
    }
  }

  Plan &plan_;
  const snn_graph &graph_;
};

}  // namespace

void pack(Plan &plan, const snn_graph &graph, Layer &layer, int32_t node) {
  Packer(plan, graph).pack(layer, node);
}

namespace {

// Any threshold that the current cannot cross is alike: so a difference of two fits 32 bits.
int64_t clamped(const ImageRange &range, int64_t threshold) {
  return std::clamp(threshold, range.lowest - 1, range.highest);
}

// What a channel's sum over a patch begins with: where nothing else is added, so that it is negative
// unless the current exceeds the first threshold.
int32_t image_initial(const Layer &layer, int64_t channel, int64_t threshold) {
  const ImageRange &range = layer.image_ranges[channel];
  if (!layer.fires_from_image()) return static_cast<int32_t>(range.shift - threshold);
  return static_cast<int32_t>(range.shift - 1 - clamped(range, threshold));
}

// What such a sum exceeds where the current exceeds the thresholds above the first.
void set_image_levels(Layer &layer, const int32_t *thresholds) {
  const int64_t channels = layer.shape.channels, padded_channels = layer.shape.level_words() * 64;
  const int64_t count = padded_channels * (layer.shape.levels - 1);
  layer.image_levels = Array<int32_t>(static_cast<size_t>(count));
  std::fill_n(layer.image_levels.get(), count, INT32_MAX);
  for (int64_t level = 1; level < layer.shape.levels; level++) {
    int32_t *const to = layer.image_levels.get() + (level - 1) * padded_channels;
    for (int64_t c = 0; c < channels; c++) {
      const ImageRange &range = layer.image_ranges[c];
      to[c] = static_cast<int32_t>(clamped(range, thresholds[level * channels + c]) -
                                   clamped(range, thresholds[c]) - 1);
    }
  }
}

}  // namespace

void set_thresholds(Layer &layer, const int32_t *thresholds) {
  const int64_t padded_channels = layer.shape.level_words() * 64;
  const auto set = [&](Array<int16_t> &to16, Array<int32_t> &to32, const int8_t *weights) {
    const int64_t channels = layer.shape.channels, count = padded_channels * layer.shape.levels;
    to16 = Array<int16_t>(static_cast<size_t>(count));
    to32 = Array<int32_t>(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; i++) {
      const int64_t channel = i % padded_channels, level = i / padded_channels;
      int64_t threshold = channel < channels ? thresholds[level * channels + channel] : INT32_MAX;
      if (weights && channel < channels) threshold -= weights[channel];
      // Currents are within ±(2^31 - 1), or, in 16 bits, ±32767: none exceeds the highest number,
      // and all exceed the lowest.
      to32.get()[i] = static_cast<int32_t>(std::clamp<int64_t>(threshold, INT32_MIN, INT32_MAX));
      to16.get()[i] = static_cast<int16_t>(std::clamp<int64_t>(threshold, INT16_MIN, INT16_MAX));
    }
  };
  set(layer.thresholds16, layer.thresholds32, nullptr);
  Shortcut &shortcut = layer.shortcut;
  if (shortcut.value >= 0) set(shortcut.thresholds16, shortcut.thresholds32, shortcut.weights);
  if (layer.image_inputs.empty()) return;
  layer.image_initial = Array<int32_t>(static_cast<size_t>(padded_channels));
  std::fill_n(layer.image_initial.get(), padded_channels, -1);
  for (int64_t i = 0; i < layer.shape.channels; i++) {
    layer.image_initial.get()[i] =
        image_initial(layer, i, layer.fires_from_image() ? thresholds[i] : 0);
  }
  if (layer.fires_from_image()) set_image_levels(layer, thresholds);
}

// Only pixels near the border differ, so a pixel with the thresholds of its left neighbour, or else of
// the one above, joins its class.
void set_position_thresholds(Layer &layer, const int32_t *thresholds) {
  const int64_t channels = layer.shape.channels, pixels = layer.shape.pixels(),
                width = layer.shape.width;
  std::vector<uint8_t> left(static_cast<size_t>(pixels)),
      above(left);  // whether it differs from that neighbour
  for (int64_t c = 0; c < channels; c++) {
    const int32_t *const map = thresholds + c * pixels;
    for (int64_t i = 1; i < pixels; i++) left[i] |= map[i] != map[i - 1];
    for (int64_t i = width; i < pixels; i++) above[i] |= map[i] != map[i - width];
  }
  std::vector<int64_t> first;  // [class] its first pixel
  layer.position_class = Array<int32_t>(static_cast<size_t>(pixels));
  int32_t *const classes = layer.position_class.get();
  for (int64_t i = 0; i < pixels; i++) {
    if (i % width && !left[i]) {
      classes[i] = classes[i - 1];
    } else if (i >= width && !above[i]) {
      classes[i] = classes[i - width];
    } else {
      classes[i] = static_cast<int32_t>(first.size());
      first.push_back(i);
    }
  }
  const std::vector<int32_t> zeros(static_cast<size_t>(channels));
  set_thresholds(layer, zeros.data());
  const int64_t padded_channels = layer.shape.level_words() * 64;
  layer.image_initial = Array<int32_t>(first.size() * static_cast<size_t>(padded_channels));
  for (size_t k = 0; k < first.size(); k++) {
    int32_t *const to = layer.image_initial.get() + static_cast<int64_t>(k) * padded_channels;
    for (int64_t c = 0; c < padded_channels; c++)
      to[c] = c < channels ? image_initial(layer, c, thresholds[c * pixels + first[k]]) : -1;
  }
  layer.per_position = true;
}

}  // namespace snn
