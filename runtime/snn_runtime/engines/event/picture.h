// The image, the one source that is dense. Part of kernels.cpp.
#ifndef SNN_EVENT_PICTURE_H
#define SNN_EVENT_PICTURE_H

#include "gather.h"

namespace snn {
namespace SNN_ISA {
namespace {

// One row of the picture, as numbers to multiply.
void centre(const Plan &plan, int64_t row, Workspace &space) {
  const int64_t width = plan.values[0].shape.width;
  const uint8_t *from = space.image + row * width * 3;
  uint8_t *to = space.picture.get() + (row + plan.margin_y) * plan.picture_stride() +
                plan.margin_x * 3 * (int64_t)sizeof(Colour);
  if (kTaken == 4) {
    memcpy(to, from, width * 3);
    return;
  }
  for (int64_t x = 0; x < width; x++) {
    for (int c = 0; c < 3; c++) {
      store(to + (3 * x + c) * sizeof(Colour), (Colour)(from[3 * x + c] - plan.offset[c]));
    }
  }
}

// Where currents of the image come from and go: to memory, or, if nothing is added to them, straight on to spikes.
struct Seen {
  const int32_t *start;
  int64_t start_width;        // of a pixel in `start`
  int32_t *currents;
  int64_t width;              // of a pixel in `currents`
  const int32_t *thresholds;  // or null
  uint8_t *mask;
  int64_t mask_width;         // bytes of a pixel

  void next(int64_t pixels) {
    start += pixels * start_width;
    currents += pixels * width;
    mask += pixels * mask_width;
  }
};

const uint8_t *window(const Plan &plan, const Geometry &g, const Workspace &space, const Position &at) {
  const int64_t y = at.y * g.stride_y - g.padding_y + plan.margin_y;
  const int64_t x = at.x * g.stride_x - g.padding_x + plan.margin_x;
  return space.picture.get() + y * plan.picture_stride() + x * 3 * (int64_t)sizeof(Colour);
}

// What one projection of the image gives `Pixels` output pixels and kVector channels. The pixels are of one row,
// so their windows, the first at `input`, lie evenly. The sums stay in registers as long as every loop over them
// is unrolled.
template <int Pixels>
inline __attribute__((always_inline)) void see(const Plan &plan, const Geometry &g, const int8_t *weights,
                                               const uint8_t *input, const Seen &seen) {
  const int64_t takes = plan.takes(g), stride = plan.picture_stride(), step = g.stride_x * 3 * sizeof(Colour);
  Quads sums[Pixels][4];
#pragma GCC unroll 4
  for (int p = 0; p < Pixels; p++) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) sums[p][v] = load<Quads>(seen.start + p * seen.start_width + v * kQuads);
  }
  for (int64_t ky = 0; ky < g.kernel_height; ky++, input += stride) {
    for (int64_t j = 0; j < takes; j++, weights += 4 * kVector) {
#pragma GCC unroll 4
      for (int p = 0; p < Pixels; p++) {
        const int32_t taken = load<int32_t>(input + p * step + 4 * j);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) sums[p][v] = multiply_add(sums[p][v], weights + v * kVector, taken);
      }
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < Pixels; p++) {
    if (!seen.thresholds) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) store(seen.currents + p * seen.width + v * kQuads, sums[p][v]);
      continue;
    }
    uint64_t bits = 0;
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
      bits |= above(sums[p][v], load<Quads>(seen.thresholds + v * kQuads)) << (v * kQuads);
    }
    memcpy(seen.mask + p * seen.mask_width, &bits, kVector / 8);
  }
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "masks are written in pieces, the low channels first");

void see_block(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space, Scratch &scratch,
               int64_t first, int64_t count) {
  constexpr int kPixels = kVector == 64 ? 4 : 2;
  const int8_t *weights = tile.dense.get();
  const int64_t mask_width = layer.shape.words() * 8;
  for (const Geometry &g : layer.image) {
    const bool begin = &g == &layer.image[0], alone = layer.spikes.empty() && &g == &layer.image.back();
    for (int64_t channel = 0; channel < tile.width; channel += kVector) {
      int32_t *const currents = scratch.currents.get() + channel;
      Seen seen = {currents, tile.width, currents, tile.width, nullptr, nullptr, 0};
      if (begin) {  // with the same for all pixels, the other projections with what was left by it
        seen.start = tile.start.get() + channel;
        seen.start_width = 0;
      }
      if (alone) {
        seen.thresholds = layer.wide.get() + tile.channel + channel;
        seen.mask = (uint8_t *)space.rooms[layer.value].mask + first * mask_width + (tile.channel + channel) / 8;
        seen.mask_width = mask_width;
      }
      const int32_t *const kinds = begin && layer.positions ? layer.kinds.get() + first : nullptr;
      Position at(first, layer.shape.width);
      for (int64_t i = 0; i < count;) {
        const uint8_t *input = window(plan, g, space, at);
        int64_t some = i + kPixels <= count && at.x + kPixels <= at.width ? kPixels : 1;
        if (kinds) {
          for (int64_t p = 1; p < some; p++) {
            if (kinds[i + p] != kinds[i]) some = 1;
          }
          seen.start = layer.starts.get() + kinds[i] * layer.shape.words() * 64 + tile.channel + channel;
        }
        if (some == kPixels) see<kPixels>(plan, g, weights, input, seen); else see<1>(plan, g, weights, input, seen);
        seen.next(some);
        i += some;
        for (int64_t p = 0; p < some; p++) at.next();
      }
      weights += g.kernel_height * plan.takes(g) * 4 * kVector;
    }
  }
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
