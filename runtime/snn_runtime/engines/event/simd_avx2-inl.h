// AVX2 (Haswell and later).
#ifndef SNN_EVENT_SIMD_AVX2_INL_H
#define SNN_EVENT_SIMD_AVX2_INL_H

#include <immintrin.h>

namespace snn {
namespace SNN_ISA {

constexpr int kVectorBytes = 32;
constexpr int kMaxTileWidth = 128;
constexpr int kRollWidth4 = 64, kRollWidth8 = 64;
constexpr int kRollRows4 = 3, kRollRows8 = 1;
constexpr int kRollMinSide4 = 8, kRollMinSide8 = 32;
constexpr bool kScatters = true;
constexpr int kImagePixels = 2;

}  // namespace SNN_ISA
}  // namespace snn

#include "vectors-inl.h"

namespace snn {
namespace SNN_ISA {

static inline uint64_t greater_mask(VecI16 a, VecI16 b) {
  const __m256i lanes = _mm256_cmpgt_epi16(bit_cast<__m256i>(a), bit_cast<__m256i>(b));
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  return static_cast<uint32_t>(_mm_movemask_epi8(bytes));
}

static inline uint64_t greater_mask(VecI32 a, VecI32 b) {
  const __m256i lanes = _mm256_cmpgt_epi32(bit_cast<__m256i>(a), bit_cast<__m256i>(b));
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(lanes)));
}

static inline uint64_t nonnegative_mask(const VecI32 *sums) {
  const __m256i low = _mm256_packs_epi32(bit_cast<__m256i>(sums[0]), bit_cast<__m256i>(sums[1]));
  const __m256i high = _mm256_packs_epi32(bit_cast<__m256i>(sums[2]), bit_cast<__m256i>(sums[3]));
  // Packing works in halves of a register: four channels of each sum, then the other four.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i all = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
  return static_cast<uint32_t>(~_mm256_movemask_epi8(all));
}

struct WordProducts {
  using Element = int16_t;
  static constexpr int kBias = 0;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const __m256i products =
        _mm256_madd_epi16(bit_cast<__m256i>(inputs), bit_cast<__m256i>(weights));
    return sum + bit_cast<VecI32>(products);
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
};

struct ByteProducts {
  using Element = uint8_t;
  static constexpr int kBias = 0;
#if defined(__AVXVNNI__)
  static constexpr int64_t kMaxSum = INT64_MAX;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    return bit_cast<VecI32>(_mm256_dpbusd_avx_epi32(
        bit_cast<__m256i>(sum), bit_cast<__m256i>(inputs), bit_cast<__m256i>(weights)));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
#else
  static constexpr int64_t kMaxSum = INT16_MAX;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const __m256i products =
        _mm256_maddubs_epi16(bit_cast<__m256i>(inputs), bit_cast<__m256i>(weights));
    return bit_cast<VecI32>(_mm256_add_epi16(bit_cast<__m256i>(sum), products));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) {
    return WordProducts::add(initial, sum, bit_cast<VecI32>(_mm256_set1_epi16(1)));
  }
#endif
};

}  // namespace SNN_ISA
}  // namespace snn

#include "set_bits-inl.h"

#endif
