// The few vector operations that the kernels are written in, for the instruction set of this
// compilation.
//
// Each simd_*-inl.h defines:
//
//   kVectorBytes     of a register
//   kMaxTileWidth    channels whose sums the registers hold
//   kRollWidth4, 8   channels of a tile that rolls, of 4 and 8 bits; 0: such tiles do not
//   kRollRows4, 8    output rows that such a tile adds an event to at once
//   kRollMinSide4, 8 of a map from which on tiles of 4 and 8 bits roll
//   kScatters        whether they hold nine cells of 4-bit weights, see scatter-inl.h
//   kImagePixels     output pixels whose sums over the image the registers hold
//   greater_mask     bit i: a[i] > b[i], for lanes of 16 and of 32 bits
//   nonnegative_mask bit i: number i of four vectors of 32 bits, one after the other, is not negative
//   WordProducts     adds to each lane of 32 bits the products of two numbers of 16 bits
//   ByteProducts     the same of four bytes. kBias is subtracted from the image's, so that they have
//                    a sign where weights have one. Where kMaxSum is INT16_MAX, a sum has two halves
//                    of 16 bits until `total` adds them; 0: there is no such instruction
//   lower_bytes      the lower byte of each lane of 16 bits, with its sign; two shifts if not defined
//   append_set_bits  appends base + i for every set bit i of a mask of so many words and returns
//                    the end; may write 16 numbers too far
//
// Here is what follows from these: sums of weight rows.
#ifndef SNN_EVENT_SIMD_INL_H
#define SNN_EVENT_SIMD_INL_H

#if defined(__AVX512BW__)
#include "simd_avx512-inl.h"
#elif defined(__AVX2__)
#include "simd_avx2-inl.h"
#elif defined(__SSE2__)
#include "simd_sse2-inl.h"
#elif defined(__aarch64__)
#include "simd_neon-inl.h"
#else
#include "simd_generic-inl.h"
#endif

namespace snn {
namespace SNN_ISA {

#if !defined(SNN_OWN_ACCUMULATOR8)
constexpr bool kInterleaved = true;

// Sums of rows of 8-bit weights, N vectors wide, kWidth channels, in 16 bits.
//
// Widening is what limits a sum of bytes, so rows are stored such that it is nearly free, see
// lane_offset. A vector of bytes is read as 16-bit lanes b = 256·o + e: the high byte o is the
// weight of one channel, the low byte e that of another plus 128, so 0 ≤ e < 256. Over n rows,
// modulo 2^16:
//
//     F = Σ b,  O = Σ (b >> 8) = Σ o           Σ (e − 128) = F − 256·O − 128·n
//
// One load, one shift and two additions for a whole vector of weights, no shuffle.
template <int N>
struct Accumulator8 {
  static constexpr int kVectors = N, kRowBytes = N * kVectorBytes, kWidth = N * kVectorBytes;
  static constexpr int64_t kRowsBeforeWidening = INT64_MAX;
  VecU16 pairs[N] = {}, odd[N] = {};  // F, O
  SNN_INLINE void add(const int8_t *row) {
    SNN_UNROLL(8)
    for (int v = 0; v < N; v++) {
      VecU16 pair = load<VecU16>(row + v * kVectorBytes);
      SNN_KEEP(pair);
      pairs[v] += pair;
      odd[v] += bit_cast<VecU16>(bit_cast<VecI16>(pair) >> 8);
    }
  }
  void widen(int64_t) {}
  // `sums`: two vectors for each, channels in order.
  SNN_INLINE void finish(int64_t rows, VecI16 *sums) const {
    const uint16_t bias = static_cast<uint16_t>(128 * static_cast<uint64_t>(rows));
    SNN_UNROLL(8)
    for (int v = 0; v < N; v++) {
      sums[2 * v] = bit_cast<VecI16>(pairs[v] - (odd[v] << 8) - bias);
      sums[2 * v + 1] = bit_cast<VecI16>(odd[v]);
    }
  }
};
#endif

#if !defined(SNN_OWN_LOWER_BYTES)
static SNN_INLINE VecI16 lower_bytes(VecU8 bytes) {
  return bit_cast<VecI16>(bit_cast<VecU16>(bytes) << 8) >> 8;
}
#endif

// Sums of rows of 4-bit weights, N vectors wide, in bytes, modulo 256. A nibble holds a weight plus
// 8, see nibble_offset. A pair of bytes is 256·(16·h1 + l1) + 16·h0 + l0; shifted by 4 bits its bytes
// are h1 and 16·l1 + h0, so that no mask is needed. Over rows, the upper byte first:
//
//     F = Σ (16·h1 + l1) | Σ (16·h0 + l0)         S = Σ h1 | Σ (16·l1 + h0)
//
// In bytes again, modulo 256, for 16·16 is none:
//
//     L = F − 16·S = Σ l1 | Σ l0                  H = S − (0 | 16·Σ l1) = Σ h1 | Σ h0
//
// One load, one shift and two additions for two vectors of weights.
template <int N>
struct NibbleSums {
  static constexpr int kVectors = N, kRowBytes = N * kVectorBytes, kWidth = 2 * N * kVectorBytes;
  VecU8 bytes[N] = {}, shifted[N] = {};  // F, S
  SNN_INLINE void add(const int8_t *row) {
    SNN_UNROLL(8)
    for (int v = 0; v < N; v++) {
      VecU16 pair = load<VecU16>(row + v * kVectorBytes);
      SNN_KEEP(pair);
      bytes[v] += bit_cast<VecU8>(pair);
      shifted[v] += bit_cast<VecU8>(pair >> 4);
    }
  }
  // Each row counts twice.
  SNN_INLINE void twice() {
    SNN_UNROLL(8)
    for (int v = 0; v < N; v++) {
      bytes[v] += bytes[v];
      shifted[v] += shifted[v];
    }
  }
  // The sums of the weights themselves, which must be -128 to 127: four vectors for each, channels in
  // order. Every row has added 8 to each of them.
  SNN_INLINE void finish(int64_t rows, VecI16 *sums) const {
    const VecU8 offsets = VecU8{} + static_cast<uint8_t>(8 * static_cast<uint64_t>(rows));
    SNN_UNROLL(8)
    for (int v = 0; v < N; v++) {
      const VecU16 times16 = (bit_cast<VecU16>(shifted[v]) << 4) & 0xf0f0;
      const VecU8 low = bytes[v] - bit_cast<VecU8>(times16);
      const VecU16 l1_times16 = (bit_cast<VecU16>(low) >> 4) & 0xf0f0;
      const VecU8 high = shifted[v] - bit_cast<VecU8>(l1_times16);
      sums[4 * v] = lower_bytes(low - offsets);
      sums[4 * v + 1] = upper_bytes(low - offsets);
      sums[4 * v + 2] = lower_bytes(high - offsets);
      sums[4 * v + 3] = upper_bytes(high - offsets);
    }
  }

 private:
  static SNN_INLINE VecI16 upper_bytes(VecU8 bytes) { return bit_cast<VecI16>(bytes) >> 8; }
};

// Any number of rows of 4-bit weights, in 16 bits: those of 16 are -128 to 112.
template <int N>
struct Accumulator4 {
  static constexpr int kVectors = N, kRowBytes = N * kVectorBytes, kWidth = 2 * N * kVectorBytes;
  static constexpr int64_t kRowsBeforeWidening = 16;
  NibbleSums<N> nibbles;
  VecI16 sums16[4 * N] = {};
  SNN_INLINE void add(const int8_t *row) { nibbles.add(row); }
  // `rows` since the last time.
  SNN_INLINE void widen(int64_t rows) {
    VecI16 own[4 * N];
    nibbles.finish(rows, own);
    SNN_UNROLL(32)
    for (int v = 0; v < 4 * N; v++) sums16[v] += own[v];
    nibbles = NibbleSums<N>();
  }
  // `sums`: four vectors for each, channels in order; `rows` since they were widened.
  SNN_INLINE void finish(int64_t rows, VecI16 *sums) {
    widen(rows);
    SNN_UNROLL(32)
    for (int v = 0; v < 4 * N; v++) sums[v] = sums16[v];
  }
};

}  // namespace SNN_ISA
}  // namespace snn
#endif
