// Pools, and lists of events. Part of kernels.cpp.
#ifndef SNN_EVENT_POOLS_H
#define SNN_EVENT_POOLS_H

#include "gather.h"

namespace snn {
namespace SNN_ISA {
namespace {

// A maximum of bits is their OR.
void any(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index], &source = plan.values[value.source];
  const uint64_t *from = space.rooms[value.source].mask;
  const int64_t words = value.shape.words(), k = value.kernel, stride = source.shape.width * words;
  uint64_t *to = space.rooms[index].mask + row * value.shape.width * words;
  for (int64_t x = 0; x < value.shape.width; x++) {
    for (int64_t w = 0; w < words; w++) {
      uint64_t bits = 0;
      for (int64_t dy = 0; dy < k; dy++) {
        for (int64_t dx = 0; dx < k; dx++) bits |= from[(row * k + dy) * stride + (x * k + dx) * words + w];
      }
      *to++ = bits;
    }
  }
}

int64_t spikes_in(const Plan &plan, const Value &sum, const Workspace &space, int64_t y, int64_t x,
                  int64_t channel) {
  const Value &base = plan.values[sum.base];
  const uint64_t *mask = space.rooms[sum.base].mask + channel / 64;
  int64_t count = 0;
  for (int64_t dy = 0; dy < sum.window; dy++) {
    for (int64_t dx = 0; dx < sum.window; dx++) {
      const int64_t pixel = (y * sum.window + dy) * base.shape.width + x * sum.window + dx;
      count += mask[pixel * base.shape.words()] >> (channel % 64) & 1;
    }
  }
  return count;
}

// A pool of numbers: rare (a maximum of sums), so plain.
void count(const Plan &plan, int32_t index, bool maximum, int64_t row, Workspace &space) {
  const Value &value = plan.values[index], &source = plan.values[value.source];
  const int32_t *numbers = space.rooms[value.source].counts;
  const int64_t channels = value.shape.channels, k = value.kernel;
  int32_t *to = space.rooms[index].counts + row * value.shape.width * channels;
  for (int64_t x = 0; x < value.shape.width; x++) {
    for (int64_t c = 0; c < channels; c++) {
      int64_t result = 0;
      for (int64_t y1 = row * k; y1 < row * k + k; y1++) {
        for (int64_t x1 = x * k; x1 < x * k + k; x1++) {
          const int64_t number = source.form == Form::kCounts
                                     ? numbers[(y1 * source.shape.width + x1) * channels + c]
                                     : spikes_in(plan, source, space, y1, x1, c);
          result = maximum ? most(result, number) : result + number;
        }
      }
      *to++ = (int32_t)result;
    }
  }
}

// The events of one row. A number n is n events.
void tell(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index];
  const Room &room = space.rooms[index];
  const int64_t width = value.shape.width, channels = value.shape.channels, words = value.shape.words();
  uint32_t *starts = room.starts + row * (width + 1);
  uint32_t *const events = room.events + row * (value.row_events + kExcess), *to = events;
  for (int64_t x = 0; x < width; x++) {
    const uint32_t first = (uint32_t)(x * channels);
    starts[x] = (uint32_t)(to - events);
    if (value.form == Form::kBits) {
      to = append(to, room.mask + (row * width + x) * words, words, first);
    } else if (value.form == Form::kSum) {
      const int64_t across = plan.values[value.base].shape.width, k = value.window;
      const uint64_t *mask = space.rooms[value.base].mask;
      for (int64_t dy = 0; dy < k; dy++) {
        for (int64_t dx = 0; dx < k; dx++) {
          to = append(to, mask + ((row * k + dy) * across + x * k + dx) * words, words, first);
        }
      }
    } else {
      const int32_t *counts = room.counts + (row * width + x) * channels;
      for (int64_t c = 0; c < channels; c++) {
        for (int32_t n = 0; n < counts[c]; n++) *to++ = first + (uint32_t)c;
      }
    }
  }
  starts[width] = (uint32_t)(to - events);
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
