// Counts the spikes of each channel. Part of kernels.cpp.
//
// 64 channels are counted at once, with the binary digits of their numbers side by side: bit c of
// word k, their plane k, is digit k of channel c. A mask is added by the logic of an adder, as in
// R. Clausecker, D. Lemire, F. Schintke, "Faster positional population counts for AVX2, AVX-512,
// and ASIMD" (2024), https://arxiv.org/abs/2412.16370.
//
// A vector holds masks of successive channels, or of successive pixels too where these have few.
#ifndef SNN_EVENT_COUNT_INL_H
#define SNN_EVENT_COUNT_INL_H

#include "gather-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

using VecU64 __attribute__((vector_size(kVectorBytes))) = uint64_t;
constexpr int kLanes64 = kVectorBytes / 8;
constexpr int kMaxDigits = 64;
constexpr double kSteps = 1 << 30;  // of distances, in 1

// Adds the masks of 2^K places, `stride` words apart, to planes 0 to K - 1. Returns the carry.
template <int K>
SNN_INLINE VecU64 add_places(VecU64 *planes, const uint64_t *mask, int64_t stride) {
  if constexpr (K == 0) {
    return load<VecU64>(mask);
  } else {
    const VecU64 a = add_places<K - 1>(planes, mask, stride);
    const VecU64 b = add_places<K - 1>(planes, mask + (stride << (K - 1)), stride);
    const VecU64 sum = planes[K - 1], either = a ^ b;
    planes[K - 1] = sum ^ either;
    return (a & b) | (sum & either);
  }
}

SNN_INLINE void add_carry(VecU64 *planes, int first, int digits, VecU64 bits) {
  for (int k = first; k < digits; k++) {
    const VecU64 carry = planes[k] & bits;
    planes[k] ^= bits;
    bits = carry;
  }
}

// Adds the masks of `count` places, 2^K at once, and what is left of them 2^(K - 2) at once.
template <int K>
SNN_INLINE void add_all(VecU64 *planes, int digits, const uint64_t *mask, int64_t stride,
                        int64_t count) {
  for (; count >> K; count -= 1 << K, mask += stride << K)
    add_carry(planes, K, digits, add_places<K>(planes, mask, stride));
  if constexpr (K > 0) add_all<K - 2>(planes, digits, mask, stride, count);
}

// How masks of one value lie in vectors.
struct Places {
  int64_t words, together, vectors;  // of a pixel's level; such levels in a vector; of a place
  explicit Places(const Shape &shape)
      : words(shape.level_words()),
        together(max(kLanes64 / words, 1)),
        vectors((words + kLanes64 - 1) / kLanes64) {}
};

// Adds the spikes of a band to the planes of its layer, [vector][digit].
void count_spikes(const Layer &layer, int64_t band, const Workspace &space, Scratch &scratch) {
  uint64_t *planes = scratch.planes.get() + layer.plane_offset;
  const Shape &shape = layer.shape;
  const Places places(shape);
  const int64_t first = band * layer.band_rows, rows = min(layer.band_rows, shape.height - first);
  const int64_t masks = rows * shape.width * shape.levels, stride = places.words * places.together;
  const uint64_t *mask = space.buffers[layer.value].mask + first * shape.width * shape.words();
  // Vectors that reach beyond a place would read there what another thread writes after the band.
  const int64_t whole = (masks - (stride % kLanes64 != 0)) / places.together;
  const int64_t rest = (masks - whole * places.together) * places.words;
  for (int64_t v = 0; v < places.vectors; v++, mask += kLanes64) {
    VecU64 own[kMaxDigits];
    for (int k = 0; k < layer.digits; k++) own[k] = load<VecU64>(planes + k * kLanes64);
    add_all<6>(own, layer.digits, mask, stride, whole);
    if (rest) {
      VecU64 last = {};
      memcpy(&last, mask + whole * stride, min(rest - v * kLanes64, kLanes64) * 8);
      add_carry(own, 0, layer.digits, last);
    }
    for (int k = 0; k < layer.digits; k++, planes += kLanes64) store(planes, own[k]);
  }
}

// The numbers of 16 channels.
using Sixteen __attribute__((vector_size(32))) = uint16_t;

// Adds the numbers of `channels` channels, up to 64, to `counts`.
inline void read_planes(const uint64_t *planes, int digits, int64_t channels, int64_t *counts) {
  constexpr Sixteen kBit = {1,   2,   4,    8,    16,   32,   64,    128,
                            256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  for (int first = 0; first < digits; first += 16) {
    Sixteen parts[4] = {};
    for (int k = (digits < first + 16 ? digits : first + 16) - 1; k >= first; k--) {
      const uint64_t plane = planes[k * kLanes64];
      SNN_UNROLL(4)
      for (int i = 0; i < 4; i++) {
        const uint16_t bits = static_cast<uint16_t>(plane >> 16 * i);
        // Less −1 where the digit is set.
        parts[i] += parts[i] - bit_cast<Sixteen>((kBit & bits) == kBit);
      }
    }
    uint16_t numbers[64];
    memcpy(numbers, parts, sizeof numbers);
    for (int64_t c = 0; c < channels; c++) counts[c] += static_cast<int64_t>(numbers[c]) << first;
  }
}

// Adds the counts that the planes of all layers hold to `counts`, one a channel; clears the planes.
void take_counts(const Plan &plan, Scratch &scratch, int64_t *counts) {
  uint64_t *planes = scratch.planes.get();
  for (const Layer &layer : plan.layers) {
    if (layer.value < 0) continue;
    const Places places(layer.shape);
    for (int64_t v = 0; v < places.vectors; v++, planes += layer.digits * kLanes64) {
      const int64_t lanes = places.together > 1 ? places.together * places.words
                                                : min(kLanes64, places.words - v * kLanes64);
      for (int64_t lane = 0; lane < lanes; lane++) {
        const int64_t first = (v * kLanes64 + lane) % places.words * 64;
        read_planes(planes + lane, layer.digits, min(layer.shape.channels - first, 64),
                    counts + first);
      }
      memset(planes, 0, layer.digits * kVectorBytes);
    }
    counts += layer.shape.channels;
  }
}

// Σ |count − usual| · weight, see engine.h: the sum of whole steps is exact in any order.
double distance(const int64_t *counts, const double *usual, int64_t channels) {
  double sums[4] = {};
  for (int64_t c = 0; c < channels; c++) {
    const double off = __builtin_fabs(static_cast<double>(counts[c]) - usual[c]);
    sums[c % 4] += __builtin_rint(off * usual[channels + c] * kSteps);
  }
  return (sums[0] + sums[1] + sums[2] + sums[3]) / kSteps;
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
