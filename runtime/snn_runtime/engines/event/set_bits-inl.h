// append_set_bits without vectors.
#ifndef SNN_EVENT_SET_BITS_INL_H
#define SNN_EVENT_SET_BITS_INL_H

#include <stdint.h>

#if defined(__BMI__)
#include <immintrin.h>
#endif

namespace snn {
namespace SNN_ISA {

// The number of the lowest bit that is set; of none, any number.
static inline uint32_t lowest_set_bit(uint64_t bits) {
#if defined(__BMI__)
  return static_cast<uint32_t>(_tzcnt_u64(bits));  // knows what to do with none
#else
  return static_cast<uint32_t>(__builtin_ctzll(bits | uint64_t{1} << 63));
#endif
}

// Eight numbers at a time, be there fewer: a loop that ends with the last bit ends where no branch
// predictor foresees. Numbers beyond the last are written over.
static inline uint32_t *append_set_bits(uint32_t *to, const uint64_t *mask, int64_t words,
                                        uint32_t base) {
  for (int64_t w = 0; w < words; w++, base += 64) {
    uint64_t bits = mask[w];
    uint32_t *const end = to + __builtin_popcountll(bits);
    do {
      SNN_UNROLL(8)
      for (int i = 0; i < 8; i++, bits &= bits - 1) to[i] = base + lowest_set_bit(bits);
      to += 8;
    } while (to < end);
    to = end;
  }
  return to;
}

}  // namespace SNN_ISA
}  // namespace snn
#endif
