// Gathers the weight rows of each output pixel: those of the neurons that fired under it. Part of
// kernels.cpp.
#ifndef SNN_EVENT_GATHER_INL_H
#define SNN_EVENT_GATHER_INL_H

#include "kernels.h"
#include "simd-inl.h"
#include "tuning.h"

namespace snn {
namespace SNN_ISA {
namespace {

inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }

// Walks over output pixels: a division at each would cost as much as several rows.
struct PixelCursor {
  int64_t y, x, width;
  PixelCursor(int64_t pixel, int64_t across)
      : y(pixel / across), x(pixel % across), width(across) {}
  PixelCursor(int64_t row, int64_t column, int64_t across) : y(row), x(column), width(across) {}
  void next() {
    if (++x == width) x = 0, y++;
  }
};

// Copies whole blocks of kListPadding numbers: it may read and write so many too far.
static_assert(kListPadding % kLanes32 == 0 && kListPadding >= 16, "append_set_bits writes 16");
inline uint32_t *copy_shifted(uint32_t *to, const uint32_t *from, uint32_t count, uint32_t shift) {
  uint32_t i = 0;
  do {
    for (uint32_t j = 0; j < kListPadding; j += kLanes32, i += kLanes32) {
      store(to + i, load<VecU32>(from + i) + shift);
    }
  } while (i < count);
  return to + count;
}

// The lines of every source that the windows of output row y cover.
void open_lines(const Plan &plan, const Layer &layer, const Tile &tile, const Workspace &space,
                int64_t y, Scratch &scratch) {
  Line *to = scratch.lines.get();
  for (size_t p = 0; p < layer.spike_inputs.size(); p++) {
    const Geometry &g = layer.spike_inputs[p];
    const Value &source = plan.values[g.value];
    const ValueBuffer &buffer = space.buffers[g.value];
    const RowBlock &block = tile.row_blocks[p];
    const int64_t top = y * g.stride_y - g.padding_y;
    const int64_t last = min(g.kernel_height, source.shape.height - top);
    scratch.line_begins.get()[p] = to;
    for (int64_t ky = max(0, -top); ky < last; ky++, to++) {
      to->begins = buffer.begins + (top + ky) * (source.shape.width + 1);
      to->events = buffer.events + (top + ky) * (source.max_row_events + kListPadding);
      to->row = block.first_row + ky * g.kernel_width * block.channels;
    }
  }
  scratch.line_begins.get()[layer.spike_inputs.size()] = to;
}

// Appends the weight rows of output pixel x. An event is column · C + channel and rows lie
// [ky][kx][channel], so a whole line of the window is one run of events and one shift.
uint32_t *gather(const Plan &plan, const Layer &layer, const Scratch &scratch, int64_t x,
                 uint32_t *to) {
  for (size_t p = 0; p < layer.spike_inputs.size(); p++) {
    const Geometry &g = layer.spike_inputs[p];
    const Shape &source = plan.values[g.value].shape;
    const int64_t left = x * g.stride_x - g.padding_x;
    const int64_t first = max(0, left), last = min(source.width, left + g.kernel_width);
    const Line *const end = scratch.line_begins.get()[p + 1];
    for (const Line *line = scratch.line_begins.get()[p]; line < end; line++) {
      const uint32_t begin = line->begins[first], count = line->begins[last] - begin;
      const uint32_t shift = static_cast<uint32_t>(line->row - left * source.channels);
      to = copy_shifted(to, line->events + begin, count, shift);
    }
  }
  return to;
}

// The same for a tile of a grouped convolution: only events of the tile's own source channels are
// kept.
uint32_t *gather_grouped(const Plan &plan, const Layer &layer, const Tile &tile,
                         const Scratch &scratch, int64_t x, uint32_t *to) {
  for (size_t p = 0; p < layer.spike_inputs.size(); p++) {
    const Geometry &g = layer.spike_inputs[p];
    const Shape &source = plan.values[g.value].shape;
    const RowBlock &block = tile.row_blocks[p];
    const int64_t left = x * g.stride_x - g.padding_x;
    const int64_t last = min(source.width, left + g.kernel_width);
    const Line *const end = scratch.line_begins.get()[p + 1];
    for (const Line *line = scratch.line_begins.get()[p]; line < end; line++) {
      for (int64_t column = max(0, left); column < last; column++) {
        const int64_t first = column * source.channels + block.first_channel;
        const int64_t row = line->row + (column - left) * block.channels;
        for (uint32_t i = line->begins[column]; i < line->begins[column + 1]; i++) {
          const int64_t channel = line->events[i] - first;
          *to = static_cast<uint32_t>(row + channel);
          to += channel >= 0 && channel < block.channels;
        }
      }
    }
  }
  return to;
}

// Fills scratch.rows and scratch.begins for `count` output pixels from `first` on:
//
//   begins   0          4        6          rows of pixel i:
//            |          |        |          rows[begins[i]] to rows[begins[i + 1] - 1]
//   rows     r r r r    r r      r r r   0 0 0 ... 0
//            pixel 0    pixel 1  pixel 2 (kPrefetchRowsBeyondL2, for prefetching past the end)
void gather_block(const Plan &plan, const Layer &layer, const Tile &tile, const Workspace &space,
                  Scratch &scratch, int64_t first, int64_t count) {
  static_assert(std::max(kPrefetchRowsL2, kPrefetchRowsBeyondL2) <= 2 * kListPadding,
                "scratch.rows has so many numbers more");
  uint32_t *const rows = scratch.rows.get(), *to = rows;
  PixelCursor at(first, layer.shape.width);
  for (int64_t i = 0; i < count; i++, at.next()) {
    if (i == 0 || at.x == 0) open_lines(plan, layer, tile, space, at.y, scratch);
    scratch.begins.get()[i] = to - rows;
    to = layer.grouped ? gather_grouped(plan, layer, tile, scratch, at.x, to)
                       : gather(plan, layer, scratch, at.x, to);
  }
  scratch.begins.get()[count] = to - rows;
  for (uint32_t i = 0; i < kPrefetchRowsBeyondL2; i++) to[i] = 0;
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
