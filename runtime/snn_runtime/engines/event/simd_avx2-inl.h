// AVX2 (Haswell and later).
#ifndef SNN_EVENT_SIMD_AVX2_INL_H
#define SNN_EVENT_SIMD_AVX2_INL_H

#include <immintrin.h>

namespace snn {
namespace SNN_ISA {

constexpr int kVectorBytes = 32;
constexpr int kMaxTileWidth = 128;
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

using ImageElement = int16_t;

static inline VecI32 multiply_add(VecI32 sum, const void *weights, int32_t inputs) {
  const __m256i products = _mm256_madd_epi16(load<__m256i>(weights), _mm256_set1_epi32(inputs));
  return sum + bit_cast<VecI32>(products);
}

}  // namespace SNN_ISA
}  // namespace snn

#include "set_bits-inl.h"

#endif
