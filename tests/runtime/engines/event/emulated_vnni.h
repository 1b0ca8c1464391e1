// AVX-VNNI on a processor with AVX2: included before the sources, so that kernels for it run here.
#ifndef SNN_EVENT_EMULATED_VNNI_H
#define SNN_EVENT_EMULATED_VNNI_H

#include <immintrin.h>

#define __AVXVNNI__ 1
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 emulated_dpbusd

// sum + the four products of each lane: even bytes and odd bytes as numbers of 16 bits.
static inline __m256i emulated_dpbusd(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(unsigned_bytes, _mm256_set1_epi16(255)),
                                         _mm256_srai_epi16(_mm256_slli_epi16(signed_bytes, 8), 8));
  const __m256i odd =
      _mm256_madd_epi16(_mm256_srli_epi16(unsigned_bytes, 8), _mm256_srai_epi16(signed_bytes, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

#endif
