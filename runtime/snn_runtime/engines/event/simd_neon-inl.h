// NEON of 64-bit ARM.
#ifndef SNN_EVENT_SIMD_NEON_INL_H
#define SNN_EVENT_SIMD_NEON_INL_H

#include <arm_neon.h>

namespace snn {
namespace SNN_ISA {

constexpr int kVectorBytes = 16;
constexpr int kMaxTileWidth = 128;
constexpr int kRollWidth4 = 64, kRollWidth8 = 64;
constexpr int kRollRows4 = 2, kRollRows8 = 1;
constexpr int kRollMinSide4 = 8, kRollMinSide8 = 32;
constexpr bool kScatters = false;
constexpr int kImagePixels = 2;

}  // namespace SNN_ISA
}  // namespace snn

#include "vectors-inl.h"

namespace snn {
namespace SNN_ISA {

static inline uint64_t greater_mask(VecI16 a, VecI16 b) {
  const uint16x8_t bit = {1, 2, 4, 8, 16, 32, 64, 128};
  return vaddvq_u16(vandq_u16(vcgtq_s16(bit_cast<int16x8_t>(a), bit_cast<int16x8_t>(b)), bit));
}

static inline uint64_t greater_mask(VecI32 a, VecI32 b) {
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_s32(bit_cast<int32x4_t>(a), bit_cast<int32x4_t>(b)), bit));
}

static inline uint64_t nonnegative_mask(const VecI32 *sums) {
  const uint8x16_t bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  int16x8_t halves[2];
  for (int v = 0; v < 2; v++) {
    halves[v] = vqmovn_high_s32(vqmovn_s32(bit_cast<int32x4_t>(sums[2 * v])),
                                bit_cast<int32x4_t>(sums[2 * v + 1]));
  }
  const int8x16_t all = vqmovn_high_s16(vqmovn_s16(halves[0]), halves[1]);
  const uint8x16_t set = vandq_u8(vcgezq_s8(all), bit);
  return vaddv_u8(vget_low_u8(set)) | vaddv_u8(vget_high_u8(set)) << 8;
}

struct WordProducts {
  using Element = int16_t;
  static constexpr int kBias = 0;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const int16x8_t a = bit_cast<int16x8_t>(weights), b = bit_cast<int16x8_t>(inputs);
    const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
    return sum + bit_cast<VecI32>(vpaddq_s32(low, vmull_high_s16(a, b)));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
};

struct ByteProducts {
  using Element = int8_t;
  static constexpr int kBias = 128;
#if defined(__ARM_FEATURE_DOTPROD)
  static constexpr int64_t kMaxSum = INT64_MAX;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    return bit_cast<VecI32>(vdotq_s32(bit_cast<int32x4_t>(sum), bit_cast<int8x16_t>(weights),
                                      bit_cast<int8x16_t>(inputs)));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
#else
  static constexpr int64_t kMaxSum = INT16_MAX;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const int8x16_t a = bit_cast<int8x16_t>(weights), b = bit_cast<int8x16_t>(inputs);
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    const int16x8_t pairs = vpaddq_s16(low, vmull_high_s8(a, b));
    return bit_cast<VecI32>(vaddq_s16(bit_cast<int16x8_t>(sum), pairs));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) {
    return bit_cast<VecI32>(vpadalq_s16(bit_cast<int32x4_t>(initial), bit_cast<int16x8_t>(sum)));
  }
#endif
};

// Accumulator8 for rows in plain order: NEON adds bytes to 16-bit lanes in one instruction.
#define SNN_OWN_ACCUMULATOR8
constexpr bool kInterleaved = false;

template <int N>
struct Accumulator8 {
  static constexpr int kVectors = N, kRowBytes = N * kVectorBytes, kWidth = N * kVectorBytes;
  static constexpr int64_t kRowsBeforeWidening = INT64_MAX;
  int16x8_t low[N], high[N];
  Accumulator8() {
    for (int v = 0; v < N; v++) low[v] = high[v] = vdupq_n_s16(0);
  }
  SNN_INLINE void add(const int8_t *row) {
    SNN_UNROLL(8)
    for (int v = 0; v < N; v++) {
      const int8x16_t bytes = vld1q_s8(row + v * kVectorBytes);
      low[v] = vaddw_s8(low[v], vget_low_s8(bytes));
      high[v] = vaddw_high_s8(high[v], bytes);
    }
  }
  void widen(int64_t) {}
  void finish(int64_t, VecI16 *sums) const {
    for (int v = 0; v < N; v++) {
      sums[2 * v] = bit_cast<VecI16>(low[v]);
      sums[2 * v + 1] = bit_cast<VecI16>(high[v]);
    }
  }
};

}  // namespace SNN_ISA
}  // namespace snn

#include "set_bits-inl.h"

#endif
