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
constexpr int kRollMinSide8 = 32;
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

using ImageElement = int16_t;

static inline VecI32 multiply_add(VecI32 sum, const void *weights, int32_t inputs) {
  const int16x8_t all = vreinterpretq_s16_s32(vdupq_n_s32(inputs));
  const int16x8_t lanes = load<int16x8_t>(weights);
  const int32x4_t low = vmull_s16(vget_low_s16(lanes), vget_low_s16(all));
  return sum + bit_cast<VecI32>(vpaddq_s32(low, vmull_high_s16(lanes, all)));
}

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
  void widen() {}
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
