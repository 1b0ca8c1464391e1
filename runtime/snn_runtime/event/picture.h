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

// Where currents of the image go: to memory, or, if nothing is added to them, straight on to spikes.
struct Seen {
  int64_t width;              // of a pixel in `currents`
  int32_t *currents;
  const int32_t *thresholds;  // or null
  uint8_t *mask;
  int64_t mask_width;         // bytes of a pixel
};

// What one projection of the image gives `Pixels` output pixels and kVector channels, added to `start` and
// held in registers meanwhile.
template <int Pixels>
void see(const Plan &plan, const Geometry &g, const int8_t *weights, const Workspace &space, Position at,
         const int32_t *start, int64_t start_width, const Seen &seen) {
  const int64_t takes = plan.takes(g), stride = plan.picture_stride();
  const uint8_t *inputs[Pixels];
  for (int p = 0; p < Pixels; p++, at.next()) {
    inputs[p] = space.picture.get() + (at.y * g.stride_y - g.padding_y + plan.margin_y) * stride +
                (at.x * g.stride_x - g.padding_x + plan.margin_x) * 3 * (int64_t)sizeof(Colour);
  }
  Quads sums[Pixels][4];
  for (int p = 0; p < Pixels; p++) {
    for (int v = 0; v < 4; v++) sums[p][v] = load<Quads>(start + p * start_width + v * kQuads);
  }
  for (int64_t ky = 0; ky < g.kernel_height; ky++) {
    for (int64_t j = 0; j < takes; j++, weights += 4 * kVector) {
#pragma GCC unroll 4
      for (int p = 0; p < Pixels; p++) {
        const int32_t taken = load<int32_t>(inputs[p] + ky * stride + 4 * j);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) sums[p][v] = multiply_add(sums[p][v], weights + v * kVector, taken);
      }
    }
  }
  for (int p = 0; p < Pixels; p++) {
    if (!seen.thresholds) {
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
      Seen seen = {tile.width, scratch.currents.get() + channel, nullptr, nullptr, mask_width};
      if (alone) {
        seen.thresholds = layer.wide.get() + tile.channel + channel;
        seen.mask = (uint8_t *)space.rooms[layer.value].mask.get() + first * mask_width + (tile.channel + channel) / 8;
      }
      // The first projection begins with the same for all pixels, the others with what was left by it.
      const int32_t *start = begin ? tile.start.get() + channel : seen.currents;
      const int64_t start_width = begin ? 0 : tile.width;
      Position at(first, layer.shape.width);
      for (int64_t i = 0; i < count;) {
        const int64_t some = i + kPixels <= count ? kPixels : 1;
        if (some == kPixels) {
          see<kPixels>(plan, g, weights, space, at, start + i * start_width, start_width, seen);
        } else {
          see<1>(plan, g, weights, space, at, start + i * start_width, start_width, seen);
        }
        seen.currents += some * tile.width;
        if (alone) seen.mask += some * mask_width;
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
