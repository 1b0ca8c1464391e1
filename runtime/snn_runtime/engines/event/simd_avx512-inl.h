// AVX-512 (F, BW, VL, DQ), with VNNI where the compiler is told so.
#ifndef SNN_EVENT_SIMD_AVX512_INL_H
#define SNN_EVENT_SIMD_AVX512_INL_H

#include <immintrin.h>

namespace snn {
namespace SNN_ISA {

constexpr int kVectorBytes = 64;
constexpr int kMaxTileWidth = 512;
constexpr int kRollWidth4 = 128, kRollWidth8 = 64;
constexpr int kRollRows4 = 3, kRollRows8 = 3;
constexpr int kRollMinSide4 = 16, kRollMinSide8 = 16;
constexpr bool kScatters = true;
constexpr int kImagePixels = 4;

}  // namespace SNN_ISA
}  // namespace snn

#include "vectors-inl.h"

namespace snn {
namespace SNN_ISA {

// A mask as a number, by way of a general register: GCC 12, short of registers, stores a mask that is
// to be widened in 16 or 32 bits and reads 64, of which the upper ones are whatever was there.
template <typename Mask>
static SNN_INLINE uint64_t number_of(Mask mask) {
  asm("" : "+r"(mask));
  return mask;
}

static inline uint64_t greater_mask(VecI16 a, VecI16 b) {
  return number_of(_mm512_cmpgt_epi16_mask(bit_cast<__m512i>(a), bit_cast<__m512i>(b)));
}

static inline uint64_t greater_mask(VecI32 a, VecI32 b) {
  return number_of(_mm512_cmpgt_epi32_mask(bit_cast<__m512i>(a), bit_cast<__m512i>(b)));
}

static inline uint64_t nonnegative_mask(const VecI32 *sums) {
  uint64_t negative = 0;
  SNN_UNROLL(4)
  for (int v = 0; v < 4; v++) {
    negative |= number_of(_mm512_movepi32_mask(bit_cast<__m512i>(sums[v]))) << (v * kLanes32);
  }
  return ~negative;
}

// By a multiplier, for the shifters are busy. On AVX2 its constant is a register too many.
#define SNN_OWN_LOWER_BYTES
static SNN_INLINE VecI16 lower_bytes(VecU8 bytes) {
  return bit_cast<VecI16>(_mm512_maddubs_epi16(_mm512_set1_epi16(1), bit_cast<__m512i>(bytes)));
}

struct WordProducts {
  using Element = int16_t;
  static constexpr int kBias = 0;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const __m512i products =
        _mm512_madd_epi16(bit_cast<__m512i>(inputs), bit_cast<__m512i>(weights));
    return sum + bit_cast<VecI32>(products);
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
};

struct ByteProducts {
  using Element = uint8_t;
  static constexpr int kBias = 0;
#if defined(__AVX512VNNI__)
  static constexpr int64_t kMaxSum = INT64_MAX;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    return bit_cast<VecI32>(_mm512_dpbusd_epi32(bit_cast<__m512i>(sum), bit_cast<__m512i>(inputs),
                                                bit_cast<__m512i>(weights)));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) { return initial + sum; }
#else
  static constexpr int64_t kMaxSum = INT16_MAX;
  static SNN_INLINE VecI32 add(VecI32 sum, VecI32 weights, VecI32 inputs) {
    const __m512i products =
        _mm512_maddubs_epi16(bit_cast<__m512i>(inputs), bit_cast<__m512i>(weights));
    return bit_cast<VecI32>(_mm512_add_epi16(bit_cast<__m512i>(sum), products));
  }
  static SNN_INLINE VecI32 total(VecI32 initial, VecI32 sum) {
    return WordProducts::add(initial, sum, bit_cast<VecI32>(_mm512_set1_epi16(1)));
  }
#endif
};

#if defined(__AVX512VNNI__)

// append_set_bits where bytes can be compressed, as they can by most processors with VNNI: all 64
// numbers at once, of which mostly fewer than 16 are left to be widened. Compressing waits for what its
// register held before, so that is a zero of its own and not the shifted numbers of the last word: 2.9
// and 5.6 us for the 2,048 words of a map (Z5, see tuning.h).
__attribute__((target("avx512vbmi2"))) static inline uint32_t *append_set_bits_vbmi2(
    uint32_t *to, const uint64_t *mask, int64_t words, uint32_t base) {
  const __m512i all = _mm512_setr_epi64(0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x1716151413121110,
                                        0x1f1e1d1c1b1a1918, 0x2726252423222120, 0x2f2e2d2c2b2a2928,
                                        0x3736353433323130, 0x3f3e3d3c3b3a3938);
  for (int64_t w = 0; w < words; w++, base += 64) {
    const int count = __builtin_popcountll(mask[w]);
    __m512i bytes = _mm512_setzero_si512();
    asm("" : "+v"(bytes));  // or the compiler masks with zeros instead
    bytes = _mm512_mask_compress_epi8(bytes, mask[w], all);
    for (int i = 0;;) {
      const __m512i numbers = _mm512_maskz_cvtepu8_epi32(0xffff, load<__m128i>(&bytes));
      store(to + i, bit_cast<VecU32>(numbers) + base);
      i += 16;
      if (i >= count) break;
      bytes = _mm512_maskz_alignr_epi64(0xff, bytes, bytes, 2);
    }
    to += count;
  }
  return to;
}

#endif

static inline uint32_t *append_set_bits(uint32_t *to, const uint64_t *mask, int64_t words,
                                        uint32_t base) {
#if defined(__AVX512VNNI__)
  if (__builtin_cpu_supports("avx512vbmi2")) return append_set_bits_vbmi2(to, mask, words, base);
#endif
  const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int64_t w = 0; w < words; w++, base += 64) {
    __m512i numbers = _mm512_add_epi32(count, _mm512_set1_epi32(static_cast<int32_t>(base)));
    SNN_UNROLL(4)
    for (int part = 0; part < 4; part++) {
      const uint32_t bits = static_cast<uint32_t>(mask[w] >> (16 * part)) & 0xffff;
      // Compressed in a register and stored whole: compressing stores are slow on some processors.
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), numbers));
      to += __builtin_popcount(bits);
      numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(16));
    }
  }
  return to;
}

}  // namespace SNN_ISA
}  // namespace snn
#endif
