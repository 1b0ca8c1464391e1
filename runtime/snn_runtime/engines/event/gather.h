// What arrives at a pixel: the weight rows that spikes make necessary. Part of kernels.cpp.
#ifndef SNN_EVENT_GATHER_H
#define SNN_EVENT_GATHER_H

#include "kernels.h"
#include "simd.h"

namespace snn {
namespace SNN_ISA {
namespace {

constexpr uint32_t kNearAhead = 12, kFarAhead = 48;  // rows between asking for one and adding it
constexpr int kQuads = kVector / 4;

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Walks over output pixels: dividing at each would cost as much as several rows.
struct Position {
  int64_t y, x, width;
  Position(int64_t pixel, int64_t across) : y(pixel / across), x(pixel % across), width(across) {}
  void next() {
    if (++x == width) x = 0, y++;
  }
};

// Reads and writes up to kExcess numbers too far: counts differ from pixel to pixel, and a loop that mostly
// makes the same number of turns is one that the processor foresees.
inline uint32_t *copy(uint32_t *to, const uint32_t *from, uint32_t count, uint32_t shift) {
  uint32_t i = 0;
  do {
    for (uint32_t j = 0; j < kExcess; j += kQuads, i += kQuads) store(to + i, load<Numbers>(from + i) + shift);
  } while (i < count);
  return to + count;
}

// The lines of the source that the windows of an output row cover, for every projection.
void open_lines(const Plan &plan, const Layer &layer, const Tile &tile, const Workspace &space, int64_t y,
                Scratch &scratch) {
  Line *to = scratch.lines.get();
  for (size_t p = 0; p < layer.spikes.size(); p++) {
    const Geometry &g = layer.spikes[p];
    const Value &source = plan.values[g.value];
    const Room &room = space.rooms[g.value];
    const int64_t top = y * g.stride_y - g.padding_y, last = least(g.kernel_height, source.shape.height - top);
    scratch.begin_lines.get()[p] = to;
    for (int64_t ky = most(0, -top); ky < last; ky++, to++) {
      to->starts = room.starts + (top + ky) * (source.shape.width + 1);
      to->events = room.events + (top + ky) * (source.row_events + kExcess);
      to->row = tile.spans[p].row + ky * g.kernel_width * tile.spans[p].range;
    }
  }
  scratch.begin_lines.get()[layer.spikes.size()] = to;
}

// The weight rows that the spikes under output pixel x make necessary. An event is column · C + channel and
// rows lie [ky][kx][channel], so a whole line of the window is one run of events and one shift.
uint32_t *gather(const Plan &plan, const Layer &layer, const Scratch &scratch, int64_t x, uint32_t *to) {
  for (size_t p = 0; p < layer.spikes.size(); p++) {
    const Geometry &g = layer.spikes[p];
    const Shape &source = plan.values[g.value].shape;
    const int64_t left = x * g.stride_x - g.padding_x;
    const int64_t from = most(0, left), until = least(source.width, left + g.kernel_width);
    const Line *const end = scratch.begin_lines.get()[p + 1];
    for (const Line *line = scratch.begin_lines.get()[p]; line < end; line++) {
      const uint32_t begin = line->starts[from], count = line->starts[until] - begin;
      to = copy(to, line->events + begin, count, (uint32_t)(line->row - left * source.channels));
    }
  }
  return to;
}

// The same for a tile that hears some channels only: each event is kept if it is of one of them.
uint32_t *gather_heard(const Plan &plan, const Layer &layer, const Tile &tile, const Scratch &scratch, int64_t x,
                       uint32_t *to) {
  for (size_t p = 0; p < layer.spikes.size(); p++) {
    const Geometry &g = layer.spikes[p];
    const Shape &source = plan.values[g.value].shape;
    const Span &span = tile.spans[p];
    const int64_t left = x * g.stride_x - g.padding_x, until = least(source.width, left + g.kernel_width);
    const Line *const end = scratch.begin_lines.get()[p + 1];
    for (const Line *line = scratch.begin_lines.get()[p]; line < end; line++) {
      for (int64_t column = most(0, left); column < until; column++) {
        const int64_t first = column * source.channels + span.channel;
        const int64_t row = line->row + (column - left) * span.range;
        for (uint32_t i = line->starts[column]; i < line->starts[column + 1]; i++) {
          const int64_t channel = line->events[i] - first;
          *to = (uint32_t)(row + channel);
          to += channel >= 0 && channel < span.range;
        }
      }
    }
  }
  return to;
}

void gather_block(const Plan &plan, const Layer &layer, const Tile &tile, const Workspace &space,
                  Scratch &scratch, int64_t first, int64_t count) {
  uint32_t *const rows = scratch.rows.get(), *to = rows;
  Position at(first, layer.shape.width);
  for (int64_t i = 0; i < count; i++, at.next()) {
    if (i == 0 || at.x == 0) open_lines(plan, layer, tile, space, at.y, scratch);
    scratch.begins.get()[i] = to - rows;
    to = layer.grouped ? gather_heard(plan, layer, tile, scratch, at.x, to)
                       : gather(plan, layer, scratch, at.x, to);
  }
  scratch.begins.get()[count] = to - rows;
  for (uint32_t i = 0; i < kFarAhead; i++) to[i] = 0;
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
