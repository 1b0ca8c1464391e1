// The few vector operations the kernels are written in, for the instruction set of this compilation.
//
// Widening is what limits a sum of narrow rows, so rows are stored such that it is nearly free. A vector of
// bytes is read as 16-bit lanes b = 256·o + e: the high byte o is the weight of one channel, the low byte e
// that of another plus 128, so 0 ≤ e < 256. Over n rows, in arithmetic modulo 2^16:
//
//     F = Σ b,  O = Σ (b >> 8) = Σ o           Σ (e − 128) = F − 256·O − 128·n
//
// one load, one shift and two additions for a whole vector of weights, no shuffle. NEON adds bytes to
// 16-bit lanes in one instruction, so there rows lie in plain order.
//
// Weights of four bits lie two to a byte, 8 added to each, and the same is done a size smaller: over at most
// 16 rows the sums of either half fit a byte. Half the memory is read, and each widening serves 16 rows.
#ifndef SNN_EVENT_SIMD_H
#define SNN_EVENT_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace snn {
namespace SNN_ISA {

#if defined(__AVX512BW__)
constexpr int kVector = 64, kWidest = 512;
#elif defined(__AVX2__)
constexpr int kVector = 32, kWidest = 128;
#elif defined(__ARM_NEON)
constexpr int kVector = 16, kWidest = 128;
#else
constexpr int kVector = 16, kWidest = 64;
#endif

typedef uint8_t Bytes __attribute__((vector_size(kVector)));
typedef uint16_t Lanes __attribute__((vector_size(kVector)));
typedef int16_t SignedLanes __attribute__((vector_size(kVector)));
typedef int32_t Quads __attribute__((vector_size(kVector)));
typedef uint32_t Numbers __attribute__((vector_size(kVector)));

template <typename Vector>
static inline Vector load(const void *from) {
  Vector vector;
  memcpy(&vector, from, sizeof vector);
  return vector;
}

template <typename Vector>
static inline void store(void *to, Vector vector) {
  memcpy(to, &vector, sizeof vector);
}

// Sums of rows: N vectors wide, kWidth channels. After kTogether rows they must be widened.
#if defined(__ARM_NEON)
constexpr bool kInterleaved = false;

template <int N>
struct Sum {
  static constexpr int kVectors = N, kWidth = N * kVector;
  static constexpr int64_t kTogether = INT64_MAX;
  int16x8_t low[N], high[N];
  Sum() {
    for (int v = 0; v < N; v++) low[v] = high[v] = vdupq_n_s16(0);
  }
  inline __attribute__((always_inline)) void add(const int8_t *row) {
#pragma GCC unroll 8
    for (int v = 0; v < N; v++) {
      const int8x16_t bytes = vld1q_s8(row + v * kVector);
      low[v] = vaddw_s8(low[v], vget_low_s8(bytes));
      high[v] = vaddw_high_s8(high[v], bytes);
    }
  }
  void widen() {}
  void finish(int64_t, SignedLanes *sums) const {
    for (int v = 0; v < N; v++) {
      sums[2 * v] = (SignedLanes)low[v];
      sums[2 * v + 1] = (SignedLanes)high[v];
    }
  }
};
#else
constexpr bool kInterleaved = true;

template <int N>
struct Sum {
  static constexpr int kVectors = N, kWidth = N * kVector;
  static constexpr int64_t kTogether = INT64_MAX;
  Lanes both[N], odd[N];
  Sum() {
    for (int v = 0; v < N; v++) both[v] = odd[v] = Lanes{};
  }
  inline __attribute__((always_inline)) void add(const int8_t *row) {
#pragma GCC unroll 8
    for (int v = 0; v < N; v++) {
      const Lanes pair = load<Lanes>(row + v * kVector);
      both[v] += pair;
      odd[v] += (Lanes)((SignedLanes)pair >> 8);
    }
  }
  void widen() {}
  // `sums`: two vectors for each, channels in order.
  inline __attribute__((always_inline)) void finish(int64_t rows, SignedLanes *sums) const {
    const uint16_t extra = (uint16_t)(128 * (uint64_t)rows);
#pragma GCC unroll 8
    for (int v = 0; v < N; v++) {
      sums[2 * v] = (SignedLanes)(both[v] - (odd[v] << 8) - extra);
      sums[2 * v + 1] = (SignedLanes)odd[v];
    }
  }
};
#endif

// The same for weights of four bits. Channels lie as `half_place` in kernels.h says.
template <int N>
struct HalfSum {
  static constexpr int kVectors = N, kWidth = 2 * N * kVector;
  static constexpr int64_t kTogether = 16;
  Bytes both[N], high[N];
  Lanes wide[4 * N];
  HalfSum() {
    for (int v = 0; v < N; v++) both[v] = high[v] = Bytes{};
    for (int v = 0; v < 4 * N; v++) wide[v] = Lanes{};
  }
  inline __attribute__((always_inline)) void add(const int8_t *row) {
#pragma GCC unroll 8
    for (int v = 0; v < N; v++) {
      const Lanes pair = load<Lanes>(row + v * kVector);
      both[v] += (Bytes)pair;
      high[v] += (Bytes)((pair >> 4) & 0x0f0f);
    }
  }
  inline __attribute__((always_inline)) void widen() {
#pragma GCC unroll 8
    for (int v = 0; v < N; v++) {
      const Lanes upper = (Lanes)high[v];
      const Lanes lower = (Lanes)(both[v] - (Bytes)((upper << 4) & 0xf0f0));
      wide[4 * v] += lower & 0xff;
      wide[4 * v + 1] += lower >> 8;
      wide[4 * v + 2] += upper & 0xff;
      wide[4 * v + 3] += upper >> 8;
      both[v] = high[v] = Bytes{};
    }
  }
  // `sums`: four vectors for each, channels in order.
  inline __attribute__((always_inline)) void finish(int64_t rows, SignedLanes *sums) {
    widen();
    const uint16_t extra = (uint16_t)(8 * (uint64_t)rows);
#pragma GCC unroll 32
    for (int v = 0; v < 4 * N; v++) sums[v] = (SignedLanes)(wide[v] - extra);
  }
};

// Bit i: a[i] > b[i], for the kVector / 2 lanes.
static inline uint64_t above(SignedLanes a, SignedLanes b) {
#if defined(__AVX512BW__)
  return _mm512_cmpgt_epi16_mask((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  const __m256i wide = _mm256_cmpgt_epi16((__m256i)a, (__m256i)b);
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  return (uint32_t)_mm_movemask_epi8(bytes);
#elif defined(__SSE2__)
  const __m128i wide = _mm_cmpgt_epi16((__m128i)a, (__m128i)b);
  return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(wide, _mm_setzero_si128()));
#elif defined(__ARM_NEON)
  const uint16x8_t bit = {1, 2, 4, 8, 16, 32, 64, 128};
  return vaddvq_u16(vandq_u16(vcgtq_s16((int16x8_t)a, (int16x8_t)b), bit));
#else
  uint64_t bits = 0;
  for (int i = 0; i < kVector / 2; i++) bits |= (uint64_t)(a[i] > b[i]) << i;
  return bits;
#endif
}

// The same for the kVector / 4 lanes of 32 bits.
static inline uint64_t above(Quads a, Quads b) {
#if defined(__AVX512BW__)
  return _mm512_cmpgt_epi32_mask((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return (uint32_t)_mm256_movemask_ps((__m256)_mm256_cmpgt_epi32((__m256i)a, (__m256i)b));
#elif defined(__SSE2__)
  return (uint32_t)_mm_movemask_ps((__m128)_mm_cmpgt_epi32((__m128i)a, (__m128i)b));
#elif defined(__ARM_NEON)
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_s32((int32x4_t)a, (int32x4_t)b), bit));
#else
  uint64_t bits = 0;
  for (int i = 0; i < kVector / 4; i++) bits |= (uint64_t)(a[i] > b[i]) << i;
  return bits;
#endif
}

// The image is dense. Its numbers are taken `kTaken` at a time, as 32 bits that every lane multiplies with
// weights of its own and adds up: four bytes where there is an instruction for that, else two of 16 bits.
#if defined(__AVX512VNNI__)
typedef uint8_t Colour;
#else
typedef int16_t Colour;
#endif
constexpr int kTaken = 4 / sizeof(Colour);

static inline Quads multiply_add(Quads sum, const void *weights, int32_t taken) {
#if defined(__AVX512VNNI__)
  return (Quads)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(taken), load<__m512i>(weights));
#elif defined(__AVX512BW__)
  return sum + (Quads)_mm512_madd_epi16(load<__m512i>(weights), _mm512_set1_epi32(taken));
#elif defined(__AVX2__)
  return sum + (Quads)_mm256_madd_epi16(load<__m256i>(weights), _mm256_set1_epi32(taken));
#elif defined(__SSE2__)
  return sum + (Quads)_mm_madd_epi16(load<__m128i>(weights), _mm_set1_epi32(taken));
#elif defined(__ARM_NEON)
  const int16x8_t twice = vreinterpretq_s16_s32(vdupq_n_s32(taken)), own = load<int16x8_t>(weights);
  const int32x4_t low = vmull_s16(vget_low_s16(own), vget_low_s16(twice));
  return sum + (Quads)vpaddq_s32(low, vmull_high_s16(own, twice));
#else
  int16_t inputs[2];
  memcpy(inputs, &taken, sizeof inputs);
  const SignedLanes own = load<SignedLanes>(weights);
  for (int i = 0; i < kVector / 4; i++) sum[i] += own[2 * i] * inputs[0] + own[2 * i + 1] * inputs[1];
  return sum;
#endif
}

#if defined(__AVX512VNNI__)
// Appends like `append` below where bytes can be compressed, as they can by most processors with VNNI: all 64
// numbers at once, of which mostly fewer than 16 are left to be widened.
__attribute__((target("avx512vbmi2"))) static inline uint32_t *append_bytes(uint32_t *to, const uint64_t *mask,
                                                                            int64_t words, uint32_t base) {
  const __m512i all = _mm512_setr_epi64(0x0706050403020100, 0x0f0e0d0c0b0a0908, 0x1716151413121110,
                                        0x1f1e1d1c1b1a1918, 0x2726252423222120, 0x2f2e2d2c2b2a2928,
                                        0x3736353433323130, 0x3f3e3d3c3b3a3938);
  for (int64_t w = 0; w < words; w++, base += 64) {
    const int count = __builtin_popcountll(mask[w]);
    __m512i bytes = _mm512_maskz_compress_epi8(mask[w], all);
    int i = 0;
    do {
      store(to + i, (Numbers)_mm512_maskz_cvtepu8_epi32(0xffff, load<__m128i>(&bytes)) + base);
      bytes = _mm512_maskz_alignr_epi64(0xff, bytes, bytes, 2);
      i += 16;
    } while (i < count);
    to += count;
  }
  return to;
}
#endif

// Appends base + i for every bit i of a mask of so many words and returns the end; may write 16 numbers too far.
static inline uint32_t *append(uint32_t *to, const uint64_t *mask, int64_t words, uint32_t base) {
#if defined(__AVX512VNNI__)
  if (__builtin_cpu_supports("avx512vbmi2")) return append_bytes(to, mask, words, base);
#endif
  for (int64_t w = 0; w < words; w++, base += 64) {
#if defined(__AVX512BW__)
    const __m512i count = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i numbers = _mm512_add_epi32(count, _mm512_set1_epi32((int32_t)base));
#pragma GCC unroll 4
    for (int part = 0; part < 4; part++) {
      const uint32_t bits = (uint32_t)(mask[w] >> (16 * part)) & 0xffff;
      // Compressed in a register and stored whole: compressing stores are slow on some processors.
      _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)bits, numbers));
      to += __builtin_popcount(bits);
      numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(16));
    }
#else
    for (uint64_t bits = mask[w]; bits; bits &= bits - 1) *to++ = base + (uint32_t)__builtin_ctzll(bits);
#endif
  }
  return to;
}

}  // namespace SNN_ISA
}  // namespace snn
#endif
