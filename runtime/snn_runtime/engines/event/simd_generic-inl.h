// Any other processor: vectors of 16 bytes, and loops that the compiler may turn into what it has.
#ifndef SNN_EVENT_SIMD_GENERIC_INL_H
#define SNN_EVENT_SIMD_GENERIC_INL_H

namespace snn {
namespace SNN_ISA {

constexpr int kVectorBytes = 16;
constexpr int kMaxTileWidth = 64;
constexpr int kRollWidth4 = 64, kRollWidth8 = 0;
constexpr int kRollRows4 = 1, kRollRows8 = 1;
constexpr int kRollMinSide4 = 0, kRollMinSide8 = 0;
constexpr bool kScatters = false;
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

static inline uint64_t nonnegative_mask(const VecI32 *sums) {
  uint64_t bits = 0;
  for (int i = 0; i < kVectorBytes; i++) {
    bits |= static_cast<uint64_t>(sums[i / kLanes32][i % kLanes32] >= 0) << i;
  }
  return bits;
}

struct WordProducts {
  using Element = int16_t;
  static constexpr int kBias = 0;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const VecI16 a = bit_cast<VecI16>(weights), b = bit_cast<VecI16>(inputs);
    for (int i = 0; i < kLanes32; i++) {
      sum[i] += a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    }
    return sum;
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
};

// No instruction adds products of bytes.
struct ByteProducts : WordProducts {
  static constexpr int64_t kMaxSum = 0;
};

}  // namespace SNN_ISA
}  // namespace snn

#include "set_bits-inl.h"

#endif
