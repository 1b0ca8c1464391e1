// Convolutions of spikes, and the gradients of their weights, by sums of rows that spikes select:
//
//   currents    I[p, :] = sum over taps t, channels c of  s[p + t, c] W[t, c, :]
//   gradients   G[t, c, :] = sum over pixels p of         s[p + t, c] D[p, :]      D = dL/dI
//
// A row has a number for each channel that receives. Work grows with the spikes that there are; a
// dense kernel's grows with all there could be. Rows are bfloat16 or float32, sums are float32.
//
// Tensors are as torch has them in channels_last: pictures (N, H, W, C), weights (O, kh, kw, C).
#include <cstdint>
#include <new>

#include "currents.h"
#include "gradients.h"
#include "memory.h"
#include "rows.h"
#include "shape.h"

namespace {

using snn::Bfloat16;
using snn::Shape;

template <typename T, typename Out>
void currents(const Shape &shape, const void *spikes, const float *weights, void *result,
              int threads) {
  const snn::Memory<T> packed = snn::pack<T>(shape, weights, threads);
  snn::in_parallel(threads, [&](int part) {
    const int64_t pictures = shape.pictures;
    snn::Currents<T>(shape, packed.data())
        .run(static_cast<const T *>(spikes), static_cast<Out *>(result), pictures * part / threads,
             pictures * (part + 1) / threads);
  });
}

template <typename T>
void gradients(const Shape &shape, const void *spikes, const void *given, float *result,
               int threads) {
  snn::in_parallel(threads, [&](int part) {
    const int64_t channels = shape.inputs;
    const int64_t begin = channels * part / threads, end = channels * (part + 1) / threads;
    if (begin == end) return;
    snn::Gradients<T>(shape, begin, end)
        .run(static_cast<const T *>(spikes), static_cast<const T *>(given), result);
  });
}

// Whether memory was enough for `work`.
template <typename Work>
bool fits(const Work &work) {
  try {
    work();
    return true;
  } catch (const std::bad_alloc &) {
    return false;
  }
}

}  // namespace

#define SNN_EXPORT __attribute__((visibility("default")))

extern "C" {

// How many numbers of every `step`-th picture are not zero; `wide`: they are float32, else bfloat16.
SNN_EXPORT int64_t snn_count(const void *numbers, int64_t pictures, int64_t size, int64_t step,
                             int32_t wide) {
  int64_t found = 0;
  for (int64_t n = 0; n < pictures; n += step) {
    if (wide) {
      const float *picture = static_cast<const float *>(numbers) + n * size;
      for (int64_t i = 0; i < size; i++) found += picture[i] != 0;
    } else {
      const Bfloat16 *picture = static_cast<const Bfloat16 *>(numbers) + n * size;
      for (int64_t i = 0; i < size; i++) found += (picture[i] & 0x7fff) != 0;
    }
  }
  return found;
}

// Currents (N, H', W', O), float32 where `wide_sums`, of spikes and weights, float32. Whether memory
// was enough.
SNN_EXPORT bool snn_currents(const Shape *shape, const void *spikes, const float *weights,
                             void *result, int32_t wide, int32_t wide_sums, int32_t threads) {
  return fits([&] {
    if (wide) return currents<float, float>(*shape, spikes, weights, result, threads);
    if (wide_sums) return currents<Bfloat16, float>(*shape, spikes, weights, result, threads);
    currents<Bfloat16, Bfloat16>(*shape, spikes, weights, result, threads);
  });
}

// Gradients of weights, float32, of spikes and gradients of currents (N, H', W', O). Whether memory
// was enough.
SNN_EXPORT bool snn_gradients(const Shape *shape, const void *spikes, const void *given,
                              float *result, int32_t wide, int32_t threads) {
  return fits([&] {
    if (wide) return gradients<float>(*shape, spikes, given, result, threads);
    gradients<Bfloat16>(*shape, spikes, given, result, threads);
  });
}
}
