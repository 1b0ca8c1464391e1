// Rows of numbers that spikes select, and their sums in registers.
#ifndef SNN_TRAIN_ROWS_H
#define SNN_TRAIN_ROWS_H

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

namespace snn {

using Bfloat16 = uint16_t;
using Floats [[gnu::vector_size(64)]] = float;
using Words [[gnu::vector_size(64)]] = uint32_t;
using LooseFloats [[gnu::vector_size(64), gnu::aligned(4), gnu::may_alias]] = float;
using LooseWords [[gnu::vector_size(64), gnu::aligned(2), gnu::may_alias]] = uint32_t;

constexpr int kGroup = 32;  // numbers that two vectors of sums hold
#if defined(__AVX512F__)
constexpr int kMostGroups = 12;  // whose sums stay in 24 of 32 registers
#elif defined(__aarch64__)
constexpr int kMostGroups = 3;
#else
constexpr int kMostGroups = 2;
#endif

// A spike, or a count of them: which row it selects, and how often.
struct Event {
  uint32_t row;
  float value;
};

// Events that select from the same rows.
template <typename T>
struct Segment {
  const T *rows;
  const Event *begin, *end;
};

inline float value(float number) { return number; }
inline float value(Bfloat16 bits) {
  const uint32_t whole = uint32_t{bits} << 16;
  float number = 0;
  std::memcpy(&number, &whole, sizeof number);
  return number;
}

// To the nearest, halves to even; the bits stay where they are. NaN stays one: rounded up, it could
// become a number.
template <typename Bits>
inline Bits rounded(Bits bits) {
  return (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : bits + 0x7fff + (bits >> 16 & 1);
}
inline void store(float number, float *to) { *to = number; }
inline void store(float number, Bfloat16 *to) {
  uint32_t bits = 0;
  std::memcpy(&bits, &number, sizeof bits);
  *to = static_cast<Bfloat16>(rounded(bits) >> 16);
}

// 32 numbers as two vectors: halves of float32, even and odd ones of bfloat16.
inline void load(const float *from, Floats &low, Floats &high) {
  low = *reinterpret_cast<const LooseFloats *>(from);
  high = *reinterpret_cast<const LooseFloats *>(from + kGroup / 2);
}
inline void load(const Bfloat16 *from, Floats &low, Floats &high) {
  const Words pairs = *reinterpret_cast<const LooseWords *>(from);
  low = reinterpret_cast<Floats>(pairs << 16);
  high = reinterpret_cast<Floats>(pairs & 0xffff0000u);
}
// Where in its group of 32 the i-th sum of such rows belongs.
template <typename T>
constexpr int position(int i) {
  return std::is_same_v<T, float> ? i : 2 * (i % (kGroup / 2)) + i / (kGroup / 2);
}

// Writes 32 sums of rows of T in the order of their channels.
template <typename T, typename Out>
inline void store_group(const float *sums, Out *to) {
  if constexpr (std::is_same_v<Out, Bfloat16>) {
    Floats low, high;
    load(sums, low, high);
    *reinterpret_cast<LooseWords *>(to) = rounded(reinterpret_cast<Words>(low)) >> 16 |
                                          (rounded(reinterpret_cast<Words>(high)) & 0xffff0000u);
  } else {
    for (int i = 0; i < kGroup; i++) to[position<T>(i)] = sums[i];
  }
}

// sums[0 … 32 Groups) += the rows that events select. Unrolled, or sums would not stay in registers.
template <int Groups, typename T>
void add_rows(const Segment<T> *segment, const Segment<T> *last, int64_t stride, float *sums) {
  Floats kept[2 * Groups];
  auto *memory = reinterpret_cast<LooseFloats *>(sums);
#pragma GCC unroll 24
  for (int i = 0; i < 2 * Groups; i++) kept[i] = memory[i];
  for (; segment != last; segment++) {
    for (const Event *event = segment->begin; event != segment->end; event++) {
      const T *row = segment->rows + event->row * stride;
      const float times = event->value;
#pragma GCC unroll 12
      for (int i = 0; i < Groups; i++) {
        Floats low, high;
        load(row + i * kGroup, low, high);
        kept[2 * i] += low * times;
        kept[2 * i + 1] += high * times;
      }
    }
  }
#pragma GCC unroll 24
  for (int i = 0; i < 2 * Groups; i++) memory[i] = kept[i];
}

template <typename T>
using AddRows = void (*)(const Segment<T> *, const Segment<T> *, int64_t, float *);

template <typename T, int Groups = kMostGroups>
AddRows<T> add_rows_of(int groups) {
  if constexpr (Groups > 1) {
    if (groups < Groups) return add_rows_of<T, Groups - 1>(groups);
  }
  return add_rows<Groups, T>;
}

// Receiving channels in blocks whose sums fit into registers, alike but for the last.
struct Blocks {
  explicit Blocks(int outputs)
      : groups(outputs / kGroup),
        count((groups + kMostGroups - 1) / kMostGroups),
        most((groups + count - 1) / count) {}
  int begin(int block) const { return block * most * kGroup; }
  int groups_of(int block) const { return std::min(most, groups - block * most); }
  int groups, count, most;
};

// Calls found(i) for every i in [0, count) where numbers[i] is not zero.
template <typename Found>
inline void each_event(const Bfloat16 *numbers, int count, const Found &found) {
  int i = 0;
#if defined(__AVX512BW__)
  for (; i < count; i += 32) {
    const uint32_t valid = count - i < 32 ? (1u << (count - i)) - 1 : ~0u;
    const __m512i bits = _mm512_slli_epi16(_mm512_maskz_loadu_epi16(valid, numbers + i), 1);
    for (uint32_t set = _mm512_test_epi16_mask(bits, bits); set; set &= set - 1)
      found(i + __builtin_ctz(set));
  }
#endif
  for (; i < count; i++) {
    if (numbers[i] & 0x7fff) found(i);
  }
}
template <typename Found>
inline void each_event(const float *numbers, int count, const Found &found) {
  int i = 0;
#if defined(__AVX512BW__)
  for (; i < count; i += 16) {
    const auto valid = static_cast<__mmask16>(count - i < 16 ? (1u << (count - i)) - 1 : 0xffff);
    const __m512 values = _mm512_maskz_loadu_ps(valid, numbers + i);
    for (uint32_t set = _mm512_cmp_ps_mask(values, _mm512_setzero_ps(), _CMP_NEQ_UQ); set;
         set &= set - 1)
      found(i + __builtin_ctz(set));
  }
#endif
  for (; i < count; i++) {
    if (numbers[i] != 0) found(i);
  }
}

}  // namespace snn

#endif
