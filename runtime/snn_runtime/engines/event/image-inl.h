// The image, the one source that is dense. Part of kernels.cpp.
//
// A patch is what an output pixel sees of the image: the lines of its windows, of one projection
// after the other, RGB RGB ... Patches are multiplied with weights four bytes at a time, and what
// little is left of the last four has weights of 0:
//
//   3×3 window     line 0: 9 elements | line 1: 9 | line 2: 9 | 1 unused      7 groups of 4 bytes
//
// An element is a byte where products of bytes are exact, see ByteProducts, and 16 bits elsewhere.
#ifndef SNN_EVENT_IMAGE_INL_H
#define SNN_EVENT_IMAGE_INL_H

#include "gather-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

// Copies a line of elements into a patch; may write kElementsAtOnce - 1 too far.
template <class Products>
SNN_INLINE void copy_line(uint8_t *to, const uint8_t *from, int64_t count) {
  using Element = typename Products::Element;
  using Bytes __attribute__((vector_size(kElementsAtOnce))) = uint8_t;
  using Elements __attribute__((vector_size(kElementsAtOnce * sizeof(Element)))) = Element;
  int64_t i = 0;
  do {
    const Elements elements = __builtin_convertvector(load<Bytes>(from + i), Elements);
    store(to + i * static_cast<int64_t>(sizeof(Element)),
          elements - static_cast<Element>(Products::kBias));
    i += kElementsAtOnce;
  } while (i < count);
}

// Fills scratch.patches for `count` output pixels from `first` on, line by line of all patches.
template <class Products>
void gather_patches(const Plan &plan, const Layer &layer, const Workspace &space, Scratch &scratch,
                    int64_t first, int64_t count) {
  const int64_t width = layer.shape.width, y = first / width, x = first % width;
  uint8_t *to = scratch.patches.get();
  for (const Geometry &g : layer.image_inputs) {
    const int64_t elements = g.kernel_width * 3, step = g.stride_x * 3;
    for (int64_t ky = 0; ky < g.kernel_height; ky++) {
      PixelCursor at(y, x, width);
      for (int64_t i = 0; i < count;) {
        const int64_t top = at.y * g.stride_y - g.padding_y + plan.margin_y + ky;
        const uint8_t *from = space.padded_image.get() + top * plan.padded_row_bytes() +
                              (plan.margin_x - g.padding_x) * 3 + at.x * step;
        for (const int64_t end = min(count, i + width - at.x); i < end; i++, from += step) {
          uint8_t *const line = to + i * layer.patch_bytes;
          if (elements <= kElementsAtOnce) {
            copy_line<Products>(line, from, kElementsAtOnce);  // no loop
          } else {
            copy_line<Products>(line, from, elements);
          }
        }
        at = PixelCursor(at.y + 1, 0, width);
      }
      to += elements * static_cast<int64_t>(sizeof(typename Products::Element));
    }
  }
}

// Where the sums over patches begin and where they go: to the mask those that are not negative, and
// for each higher level those above its number, or all of them to `currents`. Strides are from pixel
// to pixel.
struct PatchSums {
  const int8_t *weights;  // of kVectorBytes channels
  int64_t groups;         // of four bytes
  const uint8_t *patch;
  int64_t patch_bytes;
  const int32_t *initial;
  int64_t initial_stride;
  const int32_t *position_class;  // or null: `initial_stride` is from class to class
  int32_t *currents;
  int64_t current_stride;
  uint8_t *mask;  // or null: to `currents`
  int64_t mask_stride;
  const int32_t *levels;  // [level - 1][channel]
  int64_t higher_levels, level_channels;
};

// Bit i: sum i of four vectors exceeds number i.
SNN_INLINE uint64_t exceeding(const VecI32 *sums, const int32_t *numbers) {
  uint64_t bits = 0;
  SNN_UNROLL(4)
  for (int v = 0; v < 4; v++) {
    bits |= greater_mask(sums[v], load<VecI32>(numbers + v * kLanes32)) << (v * kLanes32);
  }
  return bits;
}

// Writes the spikes of a pixel, level by level.
SNN_INLINE void fire_patch(const PatchSums &to, const VecI32 *sums, uint8_t *mask) {
  uint64_t bits = nonnegative_mask(sums);
  memcpy(mask, &bits, kVectorBytes / 8);
  const int32_t *numbers = to.levels;
  SNN_UNROLL(1)
  for (int64_t level = 0; level < to.higher_levels; level++, numbers += to.level_channels) {
    mask += to.level_channels / 8;
    bits = exceeding(sums, numbers);
    memcpy(mask, &bits, kVectorBytes / 8);
  }
}

// The sums of `Pixels` patches, the first that of pixel i. They stay in registers as long as every
// loop over them is unrolled.
template <class Products, int Pixels>
SNN_INLINE void add_patches(const PatchSums &to, int64_t i) {
  const uint8_t *const patch = to.patch + i * to.patch_bytes;
  const int8_t *weights = to.weights;
  VecI32 sums[Pixels][4] = {};
  SNN_UNROLL(1)
  for (int64_t j = 0; j < to.groups; j++, weights += 4 * kVectorBytes) {
    VecI32 inputs[Pixels];
    SNN_UNROLL(4)
    for (int p = 0; p < Pixels; p++) {
      inputs[p] = VecI32{} + load<int32_t>(patch + p * to.patch_bytes + 4 * j);
    }
    SNN_UNROLL(4)
    for (int v = 0; v < 4; v++) {
      VecI32 own = load<VecI32>(weights + v * kVectorBytes);
      SNN_KEEP(own);
      SNN_UNROLL(4)
      for (int p = 0; p < Pixels; p++) {
        sums[p][v] = Products::add(sums[p][v], own, inputs[p]);
        SNN_KEEP(sums[p][v]);
      }
    }
  }
  SNN_UNROLL(4)
  for (int p = 0; p < Pixels; p++) {
    const int64_t row = to.position_class ? to.position_class[i + p] : i + p;
    const int32_t *const initial = to.initial + row * to.initial_stride;
    SNN_UNROLL(4)
    for (int v = 0; v < 4; v++) {
      sums[p][v] = Products::total(load<VecI32>(initial + v * kLanes32), sums[p][v]);
    }
    if (to.mask) {
      fire_patch(to, sums[p], to.mask + (i + p) * to.mask_stride);
      continue;
    }
    SNN_UNROLL(4)
    for (int v = 0; v < 4; v++) {
      store(to.currents + (i + p) * to.current_stride + v * kLanes32, sums[p][v]);
    }
  }
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "masks are written in pieces, low channels first");

// The sums over the gathered patches of `count` output pixels from `first` on, for the channels of a
// tile: all groups at once, or as many as a sum of products holds. Where there are no spikes to
// add, the last of them become spikes.
template <class Products>
void convolve_patches(const Layer &layer, const Tile &tile, Workspace &space, Scratch &scratch,
                      int64_t first, int64_t count) {
  const int64_t groups = layer.patch_groups, channels = layer.shape.level_words() * 64;
  PatchSums to = {};
  to.patch_bytes = layer.patch_bytes;
  to.current_stride = tile.width;
  to.mask_stride = layer.shape.words() * 8;
  to.higher_levels = layer.shape.levels - 1;
  to.level_channels = channels;
  for (int64_t channel = 0; channel < tile.width; channel += kVectorBytes) {
    const int64_t layer_channel = tile.first_channel + channel;
    to.weights = tile.image_weights.get() + channel * groups * 4;
    to.currents = scratch.currents.get() + channel;
    to.mask = nullptr;
    for (int64_t begin = 0; begin < groups; begin += layer.groups_at_once) {
      to.groups = min(layer.groups_at_once, groups - begin);
      to.patch = scratch.patches.get() + 4 * begin;
      if (begin == 0) {
        to.initial = layer.image_initial.get() + layer_channel;
        to.position_class = layer.per_position ? layer.position_class.get() + first : nullptr;
        to.initial_stride = layer.per_position ? channels : 0;
      } else {
        to.initial = to.currents;
        to.position_class = nullptr;
        to.initial_stride = tile.width;
      }
      if (layer.fires_from_image() && begin + to.groups == groups) {
        to.mask = reinterpret_cast<uint8_t *>(space.buffers[layer.value].mask) +
                  first * to.mask_stride + layer_channel / 8;
        to.levels = layer.image_levels.get() + layer_channel;
      }
      int64_t i = 0;
      for (; i + kImagePixels <= count; i += kImagePixels)
        add_patches<Products, kImagePixels>(to, i);
      for (; i < count; i++) add_patches<Products, 1>(to, i);
      to.weights += to.groups * 4 * kVectorBytes;
    }
  }
}

// All projections of the image, for `count` output pixels from `first` on and the channels of a
// tile; of the same pixels' other tiles, the first has gathered the patches.
void convolve_image(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
                    Scratch &scratch, int64_t first, int64_t count, bool gather) {
  if (layer.patch_element_bytes == 1) {
    if (gather) gather_patches<ByteProducts>(plan, layer, space, scratch, first, count);
    convolve_patches<ByteProducts>(layer, tile, space, scratch, first, count);
  } else {
    if (gather) gather_patches<WordProducts>(plan, layer, space, scratch, first, count);
    convolve_patches<WordProducts>(layer, tile, space, scratch, first, count);
  }
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
