#include "pack.h"

#include <algorithm>
#include <cstring>

#include "bounds.h"
#include "check.h"
#include "kernels.h"

namespace snn {
namespace {

constexpr int64_t kNear = 512 << 10, kFar = 1 << 20;  // bytes of weights that a core's own cache leaves out

class Packer {
 public:
  Packer(Plan &plan, const snn_graph &graph) : plan_(plan), graph_(graph) {}

  void pack(Layer &layer, const Projections &projections, int32_t n) {
    int64_t rows = 0;
    for (const Geometry &g : layer.spikes) {
      rows += g.kernel_height * g.kernel_width * plan_.values[g.value].shape.channels;
    }
    const bool small = fit_four_bits(plan_, graph_, projections, layer.shape.channels);
    const int64_t bytes = rows * layer.shape.channels / (small ? 2 : 1);
    layer.distance = bytes > kFar ? Distance::kFar : bytes > kNear ? Distance::kNear : Distance::kHere;
    const int64_t most = widest(layer, small), all = layer.shape.words() * 64;
    for (int64_t channel = 0; channel < all;) {
      int64_t width = most;
      while (width > all - channel) width /= 2;
      Tile tile;
      tile.channel = channel;
      tile.width = width;
      tile.bits = small && width >= 2 * plan_.kernels->vector ? 4 : 8;
      pack_spikes(layer, tile, projections, n);
      pack_image(layer, tile, projections);
      layer.tiles.push_back(std::move(tile));
      channel += width;
    }
  }

 private:
  // Wide tiles read long runs of memory and count their rows once; narrower ones stay in cache from pixel to
  // pixel, and there are more of them to deal out.
  int64_t widest(const Layer &layer, bool small) const {
    if (layer.grouped) return 64;
    const int64_t pixels = layer.shape.pixels(), shares = 2 * plan_.threads, run = small ? 512 : 256;
    const bool far = layer.distance != Distance::kHere;
    int64_t width = plan_.kernels->widest;
    if (!layer.image.empty()) width = std::min<int64_t>(width, 128);
    if (far && pixels > 9) width = std::min<int64_t>(width, run);
    if (plan_.threads > 1 && (far || pixels < 16)) {
      const int64_t least = std::max<int64_t>(far ? run / 2 : 64, small ? 2 * plan_.kernels->vector : 0);
      while (width > least && layer.shape.channels < shares * width) width /= 2;
    }
    return width;
  }

  // Rows [projection][ky][kx][source channel of the range], each the weights to `width` output channels.
  void pack_spikes(const Layer &layer, Tile &tile, const Projections &projections,
                   int32_t n) {
    int64_t rows = 0;
    const int64_t last = std::min(tile.channel + tile.width, layer.shape.channels) - 1;
    for (const Geometry &g : layer.spikes) {
      const int64_t inputs = plan_.values[g.value].shape.channels / g.groups;
      const int64_t outputs = layer.shape.channels / g.groups;
      const int64_t first = tile.channel / outputs, groups = last / outputs - first + 1;
      tile.spans.push_back({first * inputs, groups * inputs, rows});
      rows = rows + checked(g.kernel_height * g.kernel_width, groups * inputs, n);
    }
    require(rows < INT32_MAX, n, "holds more than this engine takes");
    tile.rows = plan_.weights.take(static_cast<size_t>(rows * tile.stride()));
    if (tile.bits == 4 || layer.grouped || last + 1 < tile.channel + tile.width) clear(tile, rows);
    for (size_t p = 0, s = 0; p < projections.size(); p++) {
      if (plan_.values[projections[p]->source].form == Form::kImage) continue;
      const int8_t *weights = graph_.weights + projections[p]->weight;
      if (tile.bits == 4) transpose<4>(layer, tile, layer.spikes[s], tile.spans[s], weights, last);
      else transpose<8>(layer, tile, layer.spikes[s], tile.spans[s], weights, last);
      s++;
    }
    tile.limit = INT32_MAX;
    for (int64_t o = tile.channel; o <= last; o++) {
      tile.limit = std::min(tile.limit, event_limit(plan_, graph_, projections, o));
    }
  }

  // Weights of zero, as they are stored, for what no weight is written to.
  void clear(Tile &tile, int64_t rows) const {
    std::vector<int8_t> zeros(tile.stride(), static_cast<int8_t>(0x88));
    for (int64_t i = 0; tile.bits == 8 && i < tile.width; i++) {
      zeros[place(*plan_.kernels, i)] = static_cast<int8_t>(surplus(*plan_.kernels, i));
    }
    for (int64_t row = 0; row < rows; row++) {
      std::copy(zeros.begin(), zeros.end(), tile.rows + row * tile.stride());
    }
  }

  // From [output][input][tap] to rows [tap][input], in squares small enough to stay in the nearest cache. A weight
  // of four bits is added to the 8 that its half of a byte holds.
  template <int Bits>
  void transpose(const Layer &layer, Tile &tile, const Geometry &g, const Span &span, const int8_t *weights,
                 int64_t last) const {
    constexpr int64_t kSquare = 64;
    const Kernels &kernels = *plan_.kernels;
    const int64_t taps = g.kernel_height * g.kernel_width;
    const int64_t inputs = plan_.values[g.value].shape.channels / g.groups;
    const int64_t outputs = layer.shape.channels / g.groups, size = inputs * taps;
    for (int64_t o = tile.channel; o <= last; o += kSquare) {
      const int64_t count = std::min(kSquare, last + 1 - o);
      int64_t to[kSquare];
      uint8_t extra[kSquare];  // or, of four bits, the factor that brings it into its half
      for (int64_t i = 0; i < count; i++) {
        const int64_t input = (o + i) / outputs * inputs - span.channel;  // of its group within the range
        const int64_t channel = o + i - tile.channel;
        const HalfPlace half = half_place(kernels, channel);
        to[i] = (span.row + input) * tile.stride() + (Bits == 4 ? half.byte : place(kernels, channel));
        extra[i] = static_cast<uint8_t>(Bits == 4 ? 1 << half.shift : surplus(kernels, channel));
      }
      const int8_t *from = weights + o * size;
      for (int64_t begin = 0; begin < size; begin += kSquare) {
        for (int64_t k = begin; k < std::min(size, begin + kSquare); k++) {
          int8_t *row = tile.rows + (k % taps * span.range + k / taps) * tile.stride();
          for (int64_t i = 0; i < count; i++) {
            const uint8_t weight = static_cast<uint8_t>(from[i * size + k]);
            row[to[i]] = static_cast<int8_t>(Bits == 4 ? row[to[i]] + weight * extra[i] : weight + extra[i]);
          }
        }
      }
    }
  }

  // [group of `vector` channels][ky][some inputs of a line][channel][input]. Groups of the convolution become
  // zeros, for an image has three channels only.
  void pack_image(const Layer &layer, Tile &tile, const Projections &projections) {
    const Kernels &kernels = *plan_.kernels;
    const int64_t vector = kernels.vector, taken = kernels.taken, bytes = 4 / taken;
    if (layer.image.empty()) return;
    int64_t size = 0;
    for (const Geometry &g : layer.image) size += g.kernel_height * plan_.takes(g) * 4 * tile.width;
    tile.dense = Array<int8_t>(static_cast<size_t>(size));
    tile.start = Array<int32_t>(static_cast<size_t>(tile.width));
    int8_t *to = tile.dense.get();
    for (const snn_projection *p : projections) {
      if (plan_.values[p->source].form != Form::kImage) continue;
      const Geometry g = geometry(*p);
      const int64_t line = plan_.takes(g) * 4 * vector, taps = g.kernel_height * g.kernel_width;
      const int64_t inputs = 3 / g.groups, outputs = layer.shape.channels / g.groups;
      for (int64_t i = 0; i < tile.width && tile.channel + i < layer.shape.channels; i++) {
        const int64_t o = tile.channel + i, first = o / outputs * inputs;
        const int8_t *from = graph_.weights + p->weight + o * inputs * taps;
        int8_t *own = to + i / vector * g.kernel_height * line + i % vector * 4;
        for (int64_t c = first; c < first + inputs; c++) {
          for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t ky = tap / g.kernel_width, k = tap % g.kernel_width * 3 + c;
            int8_t *at = own + ky * line + k / taken * 4 * vector + k % taken * bytes;
            const int16_t weight = *from++;
            std::memcpy(at, &weight, bytes);  // the low byte first
            if (bytes == 1) tile.start.get()[i] -= weight * static_cast<int32_t>(plan_.offset[c]);
          }
        }
      }
      to += g.kernel_height * plan_.takes(g) * 4 * tile.width;
    }
  }

  Plan &plan_;
  const snn_graph &graph_;
};

}  // namespace

void pack(Plan &plan, const snn_graph &graph, Layer &layer, const Projections &projections, int32_t node) {
  Packer(plan, graph).pack(layer, projections, node);
}

void set_thresholds(Layer &layer, const int32_t *from) {
  const int64_t padded = layer.shape.words() * 64;
  layer.narrow = Array<int16_t>(static_cast<size_t>(padded));
  layer.wide = Array<int32_t>(static_cast<size_t>(padded));
  for (int64_t i = 0; i < padded; i++) {
    const int32_t value = i < layer.shape.channels ? from[i] : INT32_MAX;
    layer.wide.get()[i] = value;
    // Currents that fit 16 bits are within ±32767: none exceeds 32767, and all exceed -32768.
    layer.narrow.get()[i] = static_cast<int16_t>(std::clamp<int32_t>(value, INT16_MIN, INT16_MAX));
  }
}

// A sum that begins with −floor(θ) is compared with 0. Of the positions only those at the border of the picture
// differ, so a position that is like the one to its left, or the one above, shares its numbers.
void set_position_thresholds(Layer &layer, const int32_t *from) {
  const int64_t channels = layer.shape.channels, pixels = layer.shape.pixels(), width = layer.shape.width;
  std::vector<uint8_t> left(static_cast<size_t>(pixels)), above(static_cast<size_t>(pixels));  // whether it differs
  for (int64_t c = 0; c < channels; c++) {
    const int32_t *const own = from + c * pixels;
    for (int64_t i = 1; i < pixels; i++) left[i] |= own[i] != own[i - 1];
    for (int64_t i = width; i < pixels; i++) above[i] |= own[i] != own[i - width];
  }
  std::vector<int64_t> first;  // [kind]: a pixel of it
  layer.kinds = Array<int32_t>(static_cast<size_t>(pixels));
  int32_t *const kinds = layer.kinds.get();
  for (int64_t i = 0; i < pixels; i++) {
    if (i % width && !left[i]) {
      kinds[i] = kinds[i - 1];
    } else if (i >= width && !above[i]) {
      kinds[i] = kinds[i - width];
    } else {
      kinds[i] = static_cast<int32_t>(first.size());
      first.push_back(i);
    }
  }
  const int64_t padded = layer.shape.words() * 64;
  layer.starts = Array<int32_t>(first.size() * static_cast<size_t>(padded));
  for (size_t kind = 0; kind < first.size(); kind++) {
    int32_t *const to = layer.starts.get() + static_cast<int64_t>(kind) * padded;
    for (const Tile &tile : layer.tiles) {
      for (int64_t c = tile.channel; c < std::min(tile.channel + tile.width, channels); c++) {
        to[c] = tile.start.get()[c - tile.channel] - from[c * pixels + first[kind]];
      }
    }
  }
  layer.positions = true;
  const std::vector<int32_t> zeros(static_cast<size_t>(channels));
  set_thresholds(layer, zeros.data());
}

}  // namespace snn
