// Any other processor: vectors of 16 bytes, and loops that the compiler may turn into what it has.
#ifndef SNN_EVENT_SIMD_GENERIC_INL_H
#define SNN_EVENT_SIMD_GENERIC_INL_H

namespace snn {
namespace SNN_ISA {

constexpr int kVectorBytes = 16;
constexpr int kMaxTileWidth = 64;
constexpr int kRollWidth4 = 64, kRollWidth8 = 0;
constexpr int kRollRows4 = 1, kRollRows8 = 1;
constexpr int kRollMinSide8 = 0;
constexpr int kImagePixels = 2;

}  // namespace SNN_ISA
}  // namespace snn

#include "vectors-inl.h"

namespace snn {
namespace SNN_ISA {

static inline uint64_t greater_mask(VecI16 a, VecI16 b) {
  uint64_t bits = 0;
  for (int i = 0; i < kLanes16; i++) bits |= static_cast<uint64_t>(a[i] > b[i]) << i;
  return bits;
}

static inline uint64_t greater_mask(VecI32 a, VecI32 b) {
  uint64_t bits = 0;
  for (int i = 0; i < kLanes32; i++) bits |= static_cast<uint64_t>(a[i] > b[i]) << i;
  return bits;
}

using ImageElement = int16_t;

static inline VecI32 multiply_add(VecI32 sum, const void *weights, int32_t inputs) {
  int16_t pair[2];
  memcpy(pair, &inputs, sizeof pair);
  const VecI16 lanes = load<VecI16>(weights);
  for (int i = 0; i < kLanes32; i++) sum[i] += lanes[2 * i] * pair[0] + lanes[2 * i + 1] * pair[1];
  return sum;
}

}  // namespace SNN_ISA
}  // namespace snn

#include "set_bits-inl.h"

#endif
