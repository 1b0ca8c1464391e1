// Nodes without weights, and lists of events. Part of kernels.cpp.
#ifndef SNN_EVENT_POOLS_INL_H
#define SNN_EVENT_POOLS_INL_H

#include "gather-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

// How many levels of one channel have their bits set in a pixel's mask.
int64_t spikes_at(const Shape &shape, const uint64_t *mask, int64_t channel) {
  int64_t count = 0;
  mask += channel / 64;
  for (int64_t level = 0; level < shape.levels; level++, mask += shape.level_words())
    count += static_cast<int64_t>(*mask >> (channel % 64) & 1);
  return count;
}

// The number that a value sends from one channel of one pixel.
int64_t number_at(const Plan &plan, int32_t index, const Workspace &space, int64_t y, int64_t x,
                  int64_t channel) {
  const Value &value = plan.values[index];
  const int64_t pixel = y * value.shape.width + x;
  const ValueBuffer &buffer = space.buffers[index];
  if (value.form == Form::kCounts) return buffer.counts[pixel * value.shape.channels + channel];
  if (value.form == Form::kBits)
    return spikes_at(value.shape, buffer.mask + pixel * value.shape.words(), channel);
  int64_t count = 0;
  for (const Term &term : value.terms) {
    const uint64_t *mask = space.buffers[term.base].mask;
    const Shape &base = plan.values[term.base].shape;
    const int64_t k = term.window;
    for (int64_t y1 = y * k; y1 < y * k + k; y1++) {
      for (int64_t x1 = x * k; x1 < x * k + k; x1++)
        count += spikes_at(base, mask + (y1 * base.width + x1) * base.words(), channel);
    }
  }
  return count;
}

// One row of a pool of bits: their OR, level by level.
void or_pool(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index], &source = plan.values[value.sources[0]];
  const uint64_t *from = space.buffers[value.sources[0]].mask;
  const int64_t words = value.shape.words(), k = value.kernel, stride = source.shape.width * words;
  uint64_t *to = space.buffers[index].mask + row * value.shape.width * words;
  if (k == 2) {  // as nearly all are
    const uint64_t *upper = from + row * 2 * stride, *lower = upper + stride;
    for (int64_t x = 0; x < value.shape.width; x++, upper += words, lower += words) {
      for (int64_t w = 0; w < words; w++, upper++, lower++) {
        *to++ = (upper[0] | upper[words]) | (lower[0] | lower[words]);
      }
    }
    return;
  }
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

// A channel of a pixel of a pool of numbers.
int64_t pooled(const Plan &plan, const Value &value, const Workspace &space, int64_t y, int64_t x,
               int64_t channel) {
  const bool maximum = value.kind == SNN_MAX_POOL;
  const int64_t k = value.kernel;
  int64_t result = 0;
  for (int64_t y1 = y * k; y1 < y * k + k; y1++) {
    for (int64_t x1 = x * k; x1 < x * k + k; x1++) {
      const int64_t number = number_at(plan, value.sources[0], space, y1, x1, channel);
      result = maximum ? max(result, number) : result + number;
    }
  }
  return result;
}

// One row of AND, or of IAND, of two masks.
void and_masks(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index];
  const int64_t count = value.shape.width * value.shape.words();
  const uint64_t inverted = value.kind == SNN_IAND ? ~uint64_t{0} : 0;
  const uint64_t *x = space.buffers[value.sources[0]].mask + row * count;
  const uint64_t *y = space.buffers[value.sources[1]].mask + row * count;
  uint64_t *to = space.buffers[index].mask + row * count;
  for (int64_t i = 0; i < count; i++) to[i] = x[i] & (y[i] ^ inverted);
}

// One row of numbers. Rare (a maximum of sums, sums of that), so plain.
void compute_counts(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index];
  const int64_t channels = value.shape.channels;
  int32_t *to = space.buffers[index].counts + row * value.shape.width * channels;
  for (int64_t x = 0; x < value.shape.width; x++) {
    for (int64_t c = 0; c < channels; c++) {
      const int64_t number = value.kind == SNN_ADD
                                 ? number_at(plan, value.sources[0], space, row, x, c) +
                                       number_at(plan, value.sources[1], space, row, x, c)
                                 : pooled(plan, value, space, row, x, c);
      *to++ = static_cast<int32_t>(number);
    }
  }
}

// One row of the mask or the counts of a node without weights.
void compute(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index];
  if (value.form == Form::kCounts) return compute_counts(plan, index, row, space);
  if (value.kind == SNN_AND || value.kind == SNN_IAND) return and_masks(plan, index, row, space);
  return or_pool(plan, index, row, space);
}

// Appends the events of every `step`th level of a pixel's mask, from `level` on.
inline uint32_t *append_levels(uint32_t *to, const Shape &shape, const uint64_t *mask,
                               uint32_t first, int64_t level, int64_t step) {
  const int64_t words = shape.level_words();
  for (; level < shape.levels; level += step)
    to = append_set_bits(to, mask + level * words, words, first);
  return to;
}

// Appends the events of a pixel's mask, level by level.
inline uint32_t *append_spikes(uint32_t *to, const Shape &shape, const uint64_t *mask,
                               uint32_t first) {
  return append_levels(to, shape, mask, first, 0, 1);
}

constexpr int64_t kWordsAtOnce = 8;  // of 64 channels

// Whether pairs are worth lists of their own in a row of pixels, judged by some of these.
bool lists_pairs(const Shape &shape, const uint64_t *masks) {
  const int64_t words = shape.level_words();
  int64_t spikes = 0, pairs = 0;
  for (int64_t x = 0; x < shape.width; x += kPixelsPerSample) {
    const uint64_t *level = masks + x * shape.words();
    for (int64_t k = 0; k < shape.levels; k++, level += words) {
      int64_t count = 0;
      for (int64_t w = 0; w < words; w++) count += __builtin_popcountll(level[w]);
      spikes += count;
      if (k % 2 == 1) pairs += count;
    }
  }
  return pairs * kSpikesOfPair > spikes;
}

// Appends the channels of a pixel that send two spikes more than those that stand here already.
inline uint32_t *append_pairs(uint32_t *to, const Shape &shape, const uint64_t *mask,
                              uint32_t first) {
  return append_levels(to, shape, mask, first, 1, 2);
}

// Appends the channels of a pixel that send an odd number of spikes.
inline uint32_t *append_odd(uint32_t *to, const Shape &shape, const uint64_t *mask,
                            uint32_t first) {
  const int64_t words = shape.level_words();
  for (int64_t begin = 0; begin < words; begin += kWordsAtOnce) {
    uint64_t odd[kWordsAtOnce] = {};
    const int64_t count = min(kWordsAtOnce, words - begin);
    for (int64_t level = 0; level < shape.levels; level++) {
      for (int64_t w = 0; w < count; w++) odd[w] ^= mask[level * words + begin + w];
    }
    to = append_set_bits(to, odd, count, first + static_cast<uint32_t>(begin) * 64);
  }
  return to;
}

// Appends the events of a pixel: pairs, what is left, and the pairs again. Returns how many pairs.
inline uint32_t append_in_pairs(uint32_t *&to, const Shape &shape, const uint64_t *mask,
                                uint32_t first) {
  uint32_t *const begin = to, *const end = append_pairs(begin, shape, mask, first);
  to = append_pairs(append_odd(end, shape, mask, first), shape, mask, first);
  return static_cast<uint32_t>(end - begin);
}

// Lists the events of one row of pixels. A count of n is n events.
void compress_events(const Plan &plan, int32_t index, int64_t row, Workspace &space) {
  const Value &value = plan.values[index];
  const ValueBuffer &buffer = space.buffers[index];
  const int64_t width = value.shape.width, channels = value.shape.channels;
  uint32_t *begins = buffer.begins + row * (width + 1);
  uint32_t *const events = buffer.events + row * (value.max_row_events + kListPadding),
                  *to = events;
  const uint64_t *const masks =
      value.form == Form::kBits ? buffer.mask + row * width * value.shape.words() : nullptr;
  const bool in_pairs = buffer.pairs && lists_pairs(value.shape, masks);
  for (int64_t x = 0; x < width; x++) {
    const uint32_t first = static_cast<uint32_t>(x * channels);
    begins[x] = static_cast<uint32_t>(to - events);
    if (value.form == Form::kBits) {
      const uint64_t *mask = masks + x * value.shape.words();
      if (buffer.pairs) buffer.pairs[row * width + x] = 0;
      if (in_pairs)
        buffer.pairs[row * width + x] = append_in_pairs(to, value.shape, mask, first);
      else
        to = append_spikes(to, value.shape, mask, first);
    } else if (value.form == Form::kSum) {
      for (const Term &term : value.terms) {
        const Shape &base = plan.values[term.base].shape;
        const int64_t k = term.window;
        const uint64_t *mask = space.buffers[term.base].mask;
        for (int64_t dy = 0; dy < k; dy++) {
          for (int64_t dx = 0; dx < k; dx++) {
            const int64_t pixel = (row * k + dy) * base.width + x * k + dx;
            to = append_spikes(to, base, mask + pixel * base.words(), first);
          }
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
