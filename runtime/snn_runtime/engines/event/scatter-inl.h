// Input-stationary convolution for maps of few pixels: an event goes to all cells under its kernel at
// once. Part of kernels.cpp.
//
// For what rolls, with kernels of 3x3 and a padding of 1, where the registers hold nine cells and 16 bits
// all sums. No cell moves on from pixel to pixel, which saves nothing where a cell cannot hold the
// events of two. In return no event is added beside the map:
//
//   input pixel   corner   edge     inner
//   cells         2 x 2    2 x 3    3 x 3
//
// The sums of the whole map stay in L1. All pixels fire at the end.
//
// Where a cell holds one pixel's events, a neuron's second spike need not add its row again:
//
//     Σ s_c w_c = 2 Σ_{c in pairs} w_c + Σ_{c odd} w_c        pairs: ⌊s_c / 2⌋ times c
//
// so the rows of pairs are added first and the cells doubled, modulo 256 as all that they hold.
#ifndef SNN_EVENT_SCATTER_INL_H
#define SNN_EVENT_SCATTER_INL_H

#include "roll-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

static_assert(!kScatters || kRollMinSide4 >= 2, "a map of one row has no two rows of cells");

// `Rows` x `Columns` cells, of the output pixels around an input pixel.
template <class Acc, int Rows, int Columns>
struct Neighbours {
  Acc cells[Rows][Columns];

  // Adds the events up to `stop`, their channels counted from the pixel's first one.
  SNN_INLINE void add(const InputRow &input, uint32_t first_channel, const int8_t *weights,
                      const uint32_t *&event, const uint32_t *stop) {
    for (; event < stop; event++) {
      const int8_t *const row = weights + (*event - first_channel) * input.event_bytes;
      SNN_UNROLL(3)
      for (int r = 0; r < Rows; r++) {
        SNN_UNROLL(3)
        for (int c = 0; c < Columns; c++) {
          cells[r][c].add(row - (kRollColumns * r + c) * Acc::kRowBytes);
        }
      }
    }
  }
  SNN_INLINE void twice() {
    SNN_UNROLL(3)
    for (int r = 0; r < Rows; r++) {
      SNN_UNROLL(3)
      for (int c = 0; c < Columns; c++) cells[r][c].twice();
    }
  }
  // Adds all to the sums, of which `across` are a row.
  SNN_INLINE void empty(int64_t count, int64_t across, int16_t *sums) const {
    SNN_UNROLL(3)
    for (int r = 0; r < Rows; r++) {
      SNN_UNROLL(3)
      for (int c = 0; c < Columns; c++) {
        add_cell(cells[r][c], count, sums + (r * across + c) * Acc::kWidth);
      }
    }
  }
};

// Adds the events of pixel x of a row to the sums of `Rows` x `Columns` output pixels, which begin with
// that above on the left. Its weights are `weights`; those of the others lie before them. A cell holds
// 15 rows at least, so a pair always has room.
template <class Acc, int Rows, int Columns>
SNN_NOINLINE void scatter_pixel(const InputRow &input, int64_t x, const int8_t *weights,
                                int16_t *sums) {
  const uint32_t first_channel = static_cast<uint32_t>(x * input.channels);
  const uint32_t *event = input.events + input.begins[x];
  int64_t pairs = input.pairs ? input.pairs[x] : 0;
  const uint32_t *const last = input.events + input.begins[x + 1] - pairs;  // they come again there
  while (event < last) {
    Neighbours<Acc, Rows, Columns> around;
    int64_t count = 0;
    if (pairs > 0) {
      const int64_t some = min(pairs, input.limit / 2);
      around.add(input, first_channel, weights, event, event + some);
      around.twice();
      pairs -= some;
      count = 2 * some;
    }
    if (pairs == 0) {
      const int64_t some = min(last - event, input.limit - count);
      around.add(input, first_channel, weights, event, event + some);
      count += some;
    }
    around.empty(count, input.width, sums);
  }
}

// Whether the whole map is to be scattered: where on average a cell cannot hold the events of two
// pixels, and of a larger map if many of them are pairs.
bool scatters(const Layer &layer, const Tile &tile, const Workspace &space, int64_t first,
              int64_t last) {
  const int64_t width = layer.shape.width, height = layer.shape.height, pixels = width * height;
  if (!layer.may_scatter || first > 0 || last < height) return false;
  const ValueBuffer &buffer = space.buffers[layer.spike_inputs[0].value];
  int64_t events = 0, pairs = 0;
  for (int64_t y = 0; y < height; y++) events += buffer.begins[y * (width + 1) + width];
  for (int64_t pixel = 0; buffer.pairs && pixel < pixels; pixel++) pairs += buffer.pairs[pixel];
  return 2 * events > tile.cell_limit * pixels &&
         (pixels <= kScatterMaxPixels || pairs * kSpikesOfPair > events);
}

template <class Acc>
void scatter_tile(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
                  Scratch &scratch) {
  const Geometry &g = layer.spike_inputs[0];
  const Value &source = plan.values[g.value];
  const ValueBuffer &buffer = space.buffers[g.value];
  const int64_t width = layer.shape.width, height = layer.shape.height;
  int16_t *const sums = reinterpret_cast<int16_t *>(scratch.currents.get());
  memset(sums, 0, layer.shape.pixels() * Acc::kWidth * sizeof *sums);
  for (int64_t y = 0; y < height; y++) {
    const InputRow input = {buffer.begins + y * (width + 1),
                            buffer.events + y * (source.max_row_events + kListPadding),
                            buffer.pairs ? buffer.pairs + y * width : nullptr,
                            width,
                            source.shape.channels,
                            kRollColumns * kRollColumns * Acc::kRowBytes,
                            1,
                            tile.cell_limit};
    const int64_t top = max(0, y - 1), rows = min(height, y + 2) - top;
    for (int64_t x = 0; x < width; x++) {
      const int64_t left = max(0, x - 1), columns = min(width, x + 2) - left;
      const int64_t tap = (y + 1 - top) * kRollColumns + x + 1 - left;
      const int8_t *const weights = tile.rows + tap * Acc::kRowBytes;
      int16_t *const to = sums + (top * width + left) * Acc::kWidth;
      const auto add = rows == 3
                           ? columns == 3 ? scatter_pixel<Acc, 3, 3> : scatter_pixel<Acc, 3, 2>
                       : columns == 3 ? scatter_pixel<Acc, 2, 3>
                                      : scatter_pixel<Acc, 2, 2>;
      add(input, x, weights, to);
    }
  }
  fire_pixels<Acc::kWidth>(Neurons(layer, tile, space), 0, layer.shape.pixels(), sums);
}

template <class Acc, int Rows>
void roll(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
          Scratch &scratch, int64_t first, int64_t last) {
  const bool fits16 = layer.max_pixel_events <= tile.event_limit ||
                      most_pixel_events(plan, layer, space, first, last) <= tile.event_limit;
  if constexpr (kScatters && Acc::kWidth > Acc::kRowBytes) {  // of 4 bits
    if (fits16 && scatters(layer, tile, space, first, last)) {
      return scatter_tile<Acc>(plan, layer, tile, space, scratch);
    }
  }
  if (fits16) return roll_tile<Acc, Rows, int16_t>(plan, layer, tile, space, scratch, first, last);
  roll_tile<Acc, Rows, int32_t>(plan, layer, tile, space, scratch, first, last);
}

void run_rolled(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
                Scratch &scratch, int64_t first, int64_t last) {
  if (tile.bits == 4) {
    roll<NibbleSums<kRollWidth4 / kVectorBytes / 2>, kRollRows4>(plan, layer, tile, space, scratch,
                                                                 first, last);
  } else if constexpr (kRollWidth8 > 0) {
    roll<Accumulator8<kRollWidth8 / kVectorBytes>, kRollRows8>(plan, layer, tile, space, scratch,
                                                               first, last);
  }
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
