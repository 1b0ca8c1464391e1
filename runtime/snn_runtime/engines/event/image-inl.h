// The image, the one source that is dense. Part of kernels.cpp.
#ifndef SNN_EVENT_IMAGE_INL_H
#define SNN_EVENT_IMAGE_INL_H

#include "gather-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

constexpr int64_t kElementBytes = sizeof(ImageElement);

// Writes one row of the image into the padded image, less the offset where elements can be
// negative.
void prepare_image_row(const Plan &plan, int64_t row, Workspace &space) {
  const int64_t width = plan.values[0].shape.width;
  const uint8_t *from = space.image + row * width * 3;
  uint8_t *to = space.padded_image.get() + (row + plan.margin_y) * plan.padded_row_bytes() +
                plan.margin_x * 3 * kElementBytes;
  if (kInputsPerLane == 4) {
    memcpy(to, from, width * 3);
    return;
  }
  for (int64_t x = 0; x < width; x++) {
    for (int c = 0; c < 3; c++) {
      const int64_t element = from[3 * x + c] - plan.offset[c];
      store(to + (3 * x + c) * kElementBytes, static_cast<ImageElement>(element));
    }
  }
}

// Where the sums over the image begin and end: at `initial`, then in `currents`, or, if nothing
// else is added to them, straight at the thresholds and in the mask. Strides are from pixel to
// pixel.
struct ImageEpilogue {
  const int32_t *initial;
  int64_t initial_stride;
  int32_t *currents;
  int64_t current_stride;
  const int32_t *thresholds;  // or null: to `currents`
  uint8_t *mask;
  int64_t mask_stride;  // bytes

  void next(int64_t pixels) {
    initial += pixels * initial_stride;
    currents += pixels * current_stride;
    mask += pixels * mask_stride;
  }
};

// The window of an output pixel on the padded image.
const uint8_t *window(const Plan &plan, const Geometry &g, const Workspace &space,
                      const PixelCursor &at) {
  const int64_t y = at.y * g.stride_y - g.padding_y + plan.margin_y;
  const int64_t x = at.x * g.stride_x - g.padding_x + plan.margin_x;
  return space.padded_image.get() + y * plan.padded_row_bytes() + x * 3 * kElementBytes;
}

// One projection of the image, `Pixels` output pixels and kVectorBytes channels. The pixels are of
// one row, so their windows, the first at `input`, have equal distances. The sums stay in registers
// as long as every loop over them is unrolled.
template <int Pixels>
SNN_INLINE void convolve_pixels(const Plan &plan, const Geometry &g, const int8_t *weights,
                                const uint8_t *input, const ImageEpilogue &epilogue) {
  const int64_t groups = plan.lane_groups(g), stride = plan.padded_row_bytes();
  const int64_t step = g.stride_x * 3 * kElementBytes;
  VecI32 sums[Pixels][4];
  SNN_UNROLL(4)
  for (int p = 0; p < Pixels; p++) {
    SNN_UNROLL(4)
    for (int v = 0; v < 4; v++) {
      sums[p][v] = load<VecI32>(epilogue.initial + p * epilogue.initial_stride + v * kLanes32);
    }
  }
  for (int64_t ky = 0; ky < g.kernel_height; ky++, input += stride) {
    for (int64_t j = 0; j < groups; j++, weights += 4 * kVectorBytes) {
      SNN_UNROLL(4)
      for (int p = 0; p < Pixels; p++) {
        const int32_t inputs = load<int32_t>(input + p * step + 4 * j);
        SNN_UNROLL(4)
        for (int v = 0; v < 4; v++) {
          sums[p][v] = multiply_add(sums[p][v], weights + v * kVectorBytes, inputs);
        }
      }
    }
  }
  SNN_UNROLL(4)
  for (int p = 0; p < Pixels; p++) {
    if (!epilogue.thresholds) {
      SNN_UNROLL(4)
      for (int v = 0; v < 4; v++) {
        store(epilogue.currents + p * epilogue.current_stride + v * kLanes32, sums[p][v]);
      }
      continue;
    }
    uint64_t bits = 0;
    SNN_UNROLL(4)
    for (int v = 0; v < 4; v++) {
      const VecI32 thresholds = load<VecI32>(epilogue.thresholds + v * kLanes32);
      bits |= greater_mask(sums[p][v], thresholds) << (v * kLanes32);
    }
    memcpy(epilogue.mask + p * epilogue.mask_stride, &bits, kVectorBytes / 8);
  }
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "masks are written in pieces, low channels first");

// All projections of the image, for `count` output pixels from `first` on and the channels of a
// tile. The first begins with the tile's initial values, each other with the sums before it. Where
// there are no spikes to add, the last one's sums become spikes.
void convolve_image(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
                    Scratch &scratch, int64_t first, int64_t count) {
  constexpr int kPixels = kImagePixels;
  const int8_t *weights = tile.image_weights.get();
  const int64_t mask_stride = layer.shape.words() * 8;
  for (const Geometry &g : layer.image_inputs) {
    const bool begin = &g == &layer.image_inputs.front();
    const bool end = layer.spike_inputs.empty() && &g == &layer.image_inputs.back();
    for (int64_t channel = 0; channel < tile.width; channel += kVectorBytes) {
      const int64_t layer_channel = tile.first_channel + channel;
      int32_t *const currents = scratch.currents.get() + channel;
      ImageEpilogue epilogue = {currents, tile.width, currents, tile.width, nullptr, nullptr, 0};
      if (begin) {
        epilogue.initial = tile.initial.get() + channel;
        epilogue.initial_stride = 0;
      }
      if (end) {
        epilogue.thresholds = layer.thresholds32.get() + layer_channel;
        epilogue.mask = reinterpret_cast<uint8_t *>(space.buffers[layer.value].mask) +
                        first * mask_stride + layer_channel / 8;
        epilogue.mask_stride = mask_stride;
      }
      const int32_t *const classes =
          begin && layer.per_position ? layer.position_class.get() + first : nullptr;
      PixelCursor at(first, layer.shape.width);
      for (int64_t i = 0; i < count;) {
        const uint8_t *input = window(plan, g, space, at);
        int64_t pixels = i + kPixels <= count && at.x + kPixels <= at.width ? kPixels : 1;
        if (classes) {
          for (int64_t p = 1; p < pixels; p++) {
            if (classes[i + p] != classes[i]) pixels = 1;
          }
          epilogue.initial =
              layer.position_initial.get() + classes[i] * layer.shape.words() * 64 + layer_channel;
        }
        if (pixels == kPixels) {
          convolve_pixels<kPixels>(plan, g, weights, input, epilogue);
        } else {
          convolve_pixels<1>(plan, g, weights, input, epilogue);
        }
        epilogue.next(pixels);
        i += pixels;
        for (int64_t p = 0; p < pixels; p++) at.next();
      }
      weights += g.kernel_height * plan.lane_groups(g) * 4 * kVectorBytes;
    }
  }
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
