// Pools, and lists of events. Part of kernels.cpp.
#ifndef SNN_EVENT_POOLS_INL_H
#define SNN_EVENT_POOLS_INL_H

#include "gather-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

// One row of a max pool of bits: their OR.
void or_pool(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index], &source = plan.values[value.source];
  const uint64_t *from = space.buffers[value.source].mask;
  const int64_t words = value.shape.words(), k = value.kernel, stride = source.shape.width * words;
  uint64_t *to = space.buffers[index].mask + row * value.shape.width * words;
  for (int64_t x = 0; x < value.shape.width; x++) {
    for (int64_t w = 0; w < words; w++) {
      uint64_t bits = 0;
      for (int64_t dy = 0; dy < k; dy++) {
        for (int64_t dx = 0; dx < k; dx++) {
          bits |= from[(row * k + dy) * stride + (x * k + dx) * words + w];
        }
      }
      *to++ = bits;
    }
  }
}

// A channel of a pixel of a sum: the bits that are set in its window.
int64_t count_spikes(const Plan &plan, const Value &sum, const Workspace &space, int64_t y,
                     int64_t x, int64_t channel) {
  const Value &base = plan.values[sum.base];
  const uint64_t *mask = space.buffers[sum.base].mask + channel / 64;
  int64_t count = 0;
  for (int64_t dy = 0; dy < sum.window; dy++) {
    for (int64_t dx = 0; dx < sum.window; dx++) {
      const int64_t pixel = (y * sum.window + dy) * base.shape.width + x * sum.window + dx;
      count += static_cast<int64_t>(mask[pixel * base.shape.words()] >> (channel % 64) & 1);
    }
  }
  return count;
}

// One row of a pool of numbers. Rare (a maximum of sums), so plain.
void pool_counts(const Plan &plan, int32_t index, bool maximum, int64_t row, Workspace &space) {
  const Value &value = plan.values[index], &source = plan.values[value.source];
  const int32_t *counts = space.buffers[value.source].counts;
  const int64_t channels = value.shape.channels, k = value.kernel;
  int32_t *to = space.buffers[index].counts + row * value.shape.width * channels;
  for (int64_t x = 0; x < value.shape.width; x++) {
    for (int64_t c = 0; c < channels; c++) {
      int64_t result = 0;
      for (int64_t y1 = row * k; y1 < row * k + k; y1++) {
        for (int64_t x1 = x * k; x1 < x * k + k; x1++) {
          const int64_t count = source.form == Form::kCounts
                                    ? counts[(y1 * source.shape.width + x1) * channels + c]
                                    : count_spikes(plan, source, space, y1, x1, c);
          result = maximum ? max(result, count) : result + count;
        }
      }
      *to++ = static_cast<int32_t>(result);
    }
  }
}

// Lists the events of one row of pixels. A count of n is n events.
void compress_events(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index];
  const ValueBuffer &buffer = space.buffers[index];
  const int64_t width = value.shape.width, channels = value.shape.channels,
                words = value.shape.words();
  uint32_t *begins = buffer.begins + row * (width + 1);
  uint32_t *const events = buffer.events + row * (value.max_row_events + kListPadding),
                  *to = events;
  for (int64_t x = 0; x < width; x++) {
    const uint32_t first = static_cast<uint32_t>(x * channels);
    begins[x] = static_cast<uint32_t>(to - events);
    if (value.form == Form::kBits) {
      to = append_set_bits(to, buffer.mask + (row * width + x) * words, words, first);
    } else if (value.form == Form::kSum) {
      const int64_t across = plan.values[value.base].shape.width, k = value.window;
      const uint64_t *mask = space.buffers[value.base].mask;
      for (int64_t dy = 0; dy < k; dy++) {
        for (int64_t dx = 0; dx < k; dx++) {
          const int64_t pixel = (row * k + dy) * across + x * k + dx;
          to = append_set_bits(to, mask + pixel * words, words, first);
        }
      }
    } else {
      const int32_t *counts = buffer.counts + (row * width + x) * channels;
      for (int64_t c = 0; c < channels; c++) {
        for (int32_t n = 0; n < counts[c]; n++) *to++ = first + static_cast<uint32_t>(c);
      }
    }
  }
  begins[width] = static_cast<uint32_t>(to - events);
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
