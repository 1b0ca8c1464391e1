// append_set_bits without vectors.
#ifndef SNN_EVENT_SET_BITS_INL_H
#define SNN_EVENT_SET_BITS_INL_H

#include <stdint.h>

namespace snn {
namespace SNN_ISA {

static inline uint32_t *append_set_bits(uint32_t *to, const uint64_t *mask, int64_t words,
                                        uint32_t base) {
  for (int64_t w = 0; w < words; w++, base += 64) {
    for (uint64_t bits = mask[w]; bits; bits &= bits - 1) {
      *to++ = base + static_cast<uint32_t>(__builtin_ctzll(bits));
    }
  }
  return to;
}

}  // namespace SNN_ISA
}  // namespace snn
#endif
