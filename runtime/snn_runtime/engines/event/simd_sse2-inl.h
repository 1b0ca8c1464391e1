// SSE2, which every 64-bit x86 has.
#ifndef SNN_EVENT_SIMD_SSE2_INL_H
#define SNN_EVENT_SIMD_SSE2_INL_H

#include <immintrin.h>

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
  const __m128i lanes = _mm_cmpgt_epi16(bit_cast<__m128i>(a), bit_cast<__m128i>(b));
  return static_cast<uint32_t>(_mm_movemask_epi8(_mm_packs_epi16(lanes, _mm_setzero_si128())));
}

static inline uint64_t greater_mask(VecI32 a, VecI32 b) {
  const __m128i lanes = _mm_cmpgt_epi32(bit_cast<__m128i>(a), bit_cast<__m128i>(b));
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(lanes)));
}

static inline uint64_t nonnegative_mask(const VecI32 *sums) {
  const __m128i low = _mm_packs_epi32(bit_cast<__m128i>(sums[0]), bit_cast<__m128i>(sums[1]));
  const __m128i high = _mm_packs_epi32(bit_cast<__m128i>(sums[2]), bit_cast<__m128i>(sums[3]));
  return static_cast<uint32_t>(~_mm_movemask_epi8(_mm_packs_epi16(low, high)));
}

struct WordProducts {
  using Element = int16_t;
  static constexpr int kBias = 0;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const __m128i products = _mm_madd_epi16(bit_cast<__m128i>(inputs), bit_cast<__m128i>(weights));
    return sum + bit_cast<VecI32>(products);
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
