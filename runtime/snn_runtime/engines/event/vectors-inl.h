// Vectors of kVectorBytes bytes, as GCC and clang have them on every processor: + - ^ & << >> work
// lane by lane, modulo 2^bits. Included by each simd_*-inl.h once it has defined kVectorBytes.
#ifndef SNN_EVENT_VECTORS_INL_H
#define SNN_EVENT_VECTORS_INL_H

#include <stdint.h>
#include <string.h>

#define SNN_INLINE inline __attribute__((always_inline))
#define SNN_NOINLINE __attribute__((noinline))
#define SNN_PRAGMA(text) _Pragma(#text)
#define SNN_UNROLL(times) SNN_PRAGMA(GCC unroll times)

namespace snn {
namespace SNN_ISA {

constexpr int kLanes16 = kVectorBytes / 2, kLanes32 = kVectorBytes / 4;

using VecU8 __attribute__((vector_size(kVectorBytes))) = uint8_t;
using VecU16 __attribute__((vector_size(kVectorBytes))) = uint16_t;
using VecI16 __attribute__((vector_size(kVectorBytes))) = int16_t;
using VecU32 __attribute__((vector_size(kVectorBytes))) = uint32_t;
using VecI32 __attribute__((vector_size(kVectorBytes))) = int32_t;

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

// Keeps a vector that was loaded in its register. GCC otherwise loads it again at every use: a load
// is cheap to it, but the loops here are bound by loads.
#if defined(__clang__) || !(defined(__x86_64__) || defined(__aarch64__))
#define SNN_KEEP(vector) (void)(vector)
#elif defined(__x86_64__)
#define SNN_KEEP(vector) asm("" : "+v"(vector))
#else
#define SNN_KEEP(vector) asm("" : "+w"(vector))
#endif

// The same bits as lanes of another type.
template <typename To, typename From>
static SNN_INLINE To bit_cast(From vector) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  return reinterpret_cast<To>(vector);
}

}  // namespace SNN_ISA
}  // namespace snn
#endif
