// Input-stationary convolution: an event is read once and added to every output pixel under its
// kernel. Part of kernels.cpp.
//
// For kernels of three columns, stride 1, one projection. The pixels of an input row are walked from
// left to right. Each adds its events to three columns of output pixels, held in registers; then the
// leftmost column is complete and is added to the sums in memory, and the others move on:
//
//   input pixel        x - 1        x        x + 1
//   kx 2 1 0            |           |           |
//                  left mid right   |           |
//   output columns       left  mid  right       |
//                              left mid  right
//
// A cell is such a column in one output row. As many rows of a kernel as the registers hold go
// together. The sums of kernel_height output rows are kept, or of all; the uppermost fires as soon as
// no later input row reaches it.
//
// Weight rows lie [source channel][ky][kx], so an event reads one run of memory.
#ifndef SNN_EVENT_ROLL_INL_H
#define SNN_EVENT_ROLL_INL_H

#include "currents-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

constexpr int kRollColumns = 3;  // of a kernel

template <class Acc>
SNN_INLINE void add_cell(const Acc &cell, int64_t count, int16_t *sums) {
  VecI16 own[Acc::kWidth / kLanes16];
  cell.finish(count, own);
  SNN_UNROLL(16)
  for (int i = 0; i < Acc::kWidth / kLanes16; i++) {
    int16_t *const at = sums + i * kLanes16;
    store(at, load<VecI16>(at) + own[i]);
  }
}

template <class Acc>
SNN_INLINE void add_cell(const Acc &cell, int64_t count, int32_t *sums) {
  int16_t own[Acc::kWidth] = {};
  add_cell(cell, count, own);
  for (int i = 0; i < Acc::kWidth; i++) sums[i] += own[i];
}

// One row of a source, and what its events meet.
struct InputRow {
  const uint32_t *begins, *events, *pairs;
  int64_t width, channels;
  int64_t event_bytes;  // of the weight rows of one source channel
  int64_t padding;
  int64_t limit;  // rows that a cell may sum

  // Whether a cell surely holds the events of any three pixels in turn.
  bool fits_cells() const {
    int64_t most = 0;
    for (int64_t x = 0; x < width; x++) {
      most = max(most, int64_t{begins[min(x + kRollColumns, width)]} - begins[x]);
    }
    return most <= limit;
  }
};

// The cells that the events of a pixel are added to, in `Rows` output rows, and how many rows each
// column has summed.
template <class Acc, int Rows>
struct Cells {
  Acc left[Rows], middle[Rows], right[Rows];
  int64_t in_left = 0, in_middle = 0, in_right = 0;

  SNN_INLINE void add(const int8_t *rows) {
    SNN_UNROLL(3)
    for (int r = 0; r < Rows; r++, rows += kRollColumns * Acc::kRowBytes) {
      right[r].add(rows);
      middle[r].add(rows + Acc::kRowBytes);
      left[r].add(rows + 2 * Acc::kRowBytes);
    }
  }
  SNN_INLINE void count(int64_t events) {
    in_left += events;
    in_middle += events;
    in_right += events;
  }
  // `sums` point at the first column of each output row, `at` leads to that on the left.
  template <class Sum>
  SNN_INLINE void move_right(Sum *const (&sums)[Rows], int64_t at) {
    SNN_UNROLL(3)
    for (int r = 0; r < Rows; r++) {
      add_cell(left[r], in_left, sums[r] + at);
      left[r] = middle[r];
      middle[r] = right[r];
      right[r] = Acc();
    }
    in_left = in_middle;
    in_middle = in_right;
    in_right = 0;
  }
  // Adds all to the sums. Mostly the column on the right has no events yet.
  template <class Sum>
  SNN_INLINE void empty(Sum *const (&sums)[Rows], int64_t at) {
    SNN_UNROLL(3)
    for (int r = 0; r < Rows; r++) {
      add_cell(left[r], in_left, sums[r] + at);
      add_cell(middle[r], in_middle, sums[r] + at + Acc::kWidth);
      left[r] = middle[r] = Acc();
    }
    if (in_right > 0) {
      SNN_UNROLL(3)
      for (int r = 0; r < Rows; r++) {
        add_cell(right[r], in_right, sums[r] + at + 2 * Acc::kWidth);
        right[r] = Acc();
      }
    }
    in_left = in_middle = in_right = 0;
  }
};

// Adds an input row's events to `Rows` output rows, whose kernel rows begin at `weights`, the lowest
// output row first. Unless it Fits, see fits_cells, the cells are emptied before a pixel that they have
// no room for. A function of its own: what surrounds it would take registers from its loops.
template <class Acc, int Rows, bool Fits, class Sum>
SNN_NOINLINE void roll_row(const InputRow &input, const int8_t *weights, Sum *const (&sums)[Rows]) {
  Cells<Acc, Rows> cells;
  const int64_t end = input.width + input.padding;
  uint32_t first_channel = 0;  // the event of the pixel's first channel
  for (int64_t x = 0; x < end; x++, first_channel += static_cast<uint32_t>(input.channels)) {
    const uint32_t *event = input.events + input.begins[min(x, input.width)];
    const uint32_t *const last = input.events + input.begins[min(x + 1, input.width)];
    const int64_t column = (x + input.padding - kRollMargin) * Acc::kWidth;
    do {
      const int64_t rest = last - event;
      if (!Fits && cells.in_left > 0 && cells.in_left + rest > input.limit) {
        cells.empty(sums, column);
      }
      const int64_t count = Fits ? rest : min(rest, input.limit);
      for (const uint32_t *const stop = event + count; event < stop; event++) {
        cells.add(weights + (*event - first_channel) * input.event_bytes);
      }
      cells.count(count);
    } while (!Fits && event < last);
    cells.move_right(sums, column);
  }
}

// Fires the pixels [first, last) from their sums, which become zeros.
template <int Width>
void fire_pixels(const Neurons &neurons, int64_t first, int64_t last, int16_t *sums) {
  for (int64_t pixel = first; pixel < last; pixel++, sums += Width) {
    VecI16 own[Width / kLanes16];
    SNN_UNROLL(16)
    for (int i = 0; i < Width / kLanes16; i++) {
      own[i] = load<VecI16>(sums + i * kLanes16);
      store(sums + i * kLanes16, VecI16{});
    }
    neurons.fire16<Width>(own, 0, pixel);
  }
}

template <int Width>
void fire_pixels(const Neurons &neurons, int64_t first, int64_t last, int32_t *sums) {
  for (int64_t pixel = first; pixel < last; pixel++, sums += Width) {
    neurons.fire32(Width, sums, pixel);
    memset(sums, 0, Width * sizeof *sums);
  }
}

// Sums of output rows, row y in slot y % slots. A free slot holds zeros.
template <int Width, class Sum>
class SumRows {
 public:
  SumRows(const Layer &layer, int64_t slots, int32_t *memory)
      : slots_(slots), width_(layer.shape.width), memory_(reinterpret_cast<Sum *>(memory)) {
    memset(memory_, 0, slots_ * size() * sizeof(Sum));
  }
  Sum *row(int64_t y) const { return memory_ + y % slots_ * size() + kRollMargin * Width; }
  // Fires an output row, and frees its slot.
  void fire(const Neurons &neurons, int64_t y) const {
    constexpr size_t kMarginBytes = kRollMargin * Width * sizeof(Sum);
    fire_pixels<Width>(neurons, y * width_, y * width_ + width_, row(y));
    memset(row(y) - kRollMargin * Width, 0, kMarginBytes);
    memset(row(y) + width_ * Width, 0, kMarginBytes);
  }

 private:
  int64_t size() const { return (width_ + 2 * kRollMargin) * Width; }

  int64_t slots_, width_;
  Sum *memory_;
};

// The rows of a kernel from `ky` to `last`, which reach output rows y + padding_y - ky downwards.
template <class Acc, int Rows, class Sum>
SNN_INLINE int64_t roll_rows(const InputRow &input, const int8_t *rows,
                             const SumRows<Acc::kWidth, Sum> &sums, int64_t lowest, int64_t ky,
                             int64_t last) {
  if constexpr (Rows > 1) {
    if (last - ky < Rows) return roll_rows<Acc, Rows - 1>(input, rows, sums, lowest, ky, last);
  }
  Sum *own[Rows];
  for (int r = 0; r < Rows; r++) own[r] = sums.row(lowest - ky - r);
  rows += ky * kRollColumns * Acc::kRowBytes;
  if (input.fits_cells()) {
    roll_row<Acc, Rows, true>(input, rows, own);
  } else {
    roll_row<Acc, Rows, false>(input, rows, own);
  }
  return ky + Rows;
}

// Output rows [first, last) of a tile.
template <class Acc, int Rows, class Sum>
void roll_tile(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
               Scratch &scratch, int64_t first, int64_t last) {
  const Geometry &g = layer.spike_inputs[0];
  const Value &source = plan.values[g.value];
  const ValueBuffer &buffer = space.buffers[g.value];
  const int64_t height = source.shape.height;
  const int64_t event_bytes = g.kernel_height * g.kernel_width * Acc::kRowBytes;
  const SumRows<Acc::kWidth, Sum> sums(layer, min(g.kernel_height, last - first),
                                       scratch.currents.get());
  const Neurons neurons(layer, tile, space);
  const int64_t end = min(height, last - g.padding_y + g.kernel_height - 1);
  int64_t next = first;  // the first row that has not fired
  for (int64_t y = max(0, first - g.padding_y); y < end; y++) {
    const InputRow input = {buffer.begins + y * (source.shape.width + 1),
                            buffer.events + y * (source.max_row_events + kListPadding),
                            nullptr,
                            source.shape.width,
                            source.shape.channels,
                            event_bytes,
                            g.padding_x,
                            tile.cell_limit};
    const int64_t lowest = y + g.padding_y;  // reached through ky 0
    const int64_t stop = min(g.kernel_height, lowest - first + 1);
    for (int64_t ky = max(0, lowest - last + 1); ky < stop;) {
      ky = roll_rows<Acc, Rows>(input, tile.rows, sums, lowest, ky, stop);
    }
    for (; next < last && (next <= lowest - g.kernel_height + 1 || y == end - 1); next++) {
      sums.fire(neurons, next);
    }
  }
}

// The most events under one pixel of output rows [first, last).
int64_t most_pixel_events(const Plan &plan, const Layer &layer, const Workspace &space,
                          int64_t first, int64_t last) {
  const Geometry &g = layer.spike_inputs[0];
  const Shape &source = plan.values[g.value].shape;
  const uint32_t *const begins = space.buffers[g.value].begins;
  int64_t most = 0;
  for (int64_t y = first; y < last; y++) {
    const int64_t top = max(0, y - g.padding_y);
    const int64_t bottom = min(source.height, y - g.padding_y + g.kernel_height);
    for (int64_t x = 0; x < layer.shape.width; x++) {
      const int64_t left = max(0, x - g.padding_x);
      const int64_t right = min(source.width, x - g.padding_x + g.kernel_width);
      int64_t count = 0;
      for (int64_t line = top; line < bottom; line++) {
        const uint32_t *const own = begins + line * (source.width + 1);
        count += own[right] - own[left];
      }
      most = max(most, count);
    }
  }
  return most;
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
