// Currents and the spikes they cause. Part of kernels.cpp.
#ifndef SNN_EVENT_CURRENTS_H
#define SNN_EVENT_CURRENTS_H

#include "gather.h"

namespace snn {
namespace SNN_ISA {
namespace {

// Asks for a row before it is needed. From the second cache it comes a few rows ahead. From farther away it is
// asked into the second cache and much earlier: the first has room for too few requests at a time to keep a
// slow memory busy.
template <class Sum, Distance From>
inline __attribute__((always_inline)) void fetch(const int8_t *tile, uint32_t row) {
  const int8_t *at = tile + (size_t)row * (Sum::kVectors * kVector);
  for (int line = 0; line < Sum::kVectors * kVector; line += 64) {
    if (From == Distance::kFar) __builtin_prefetch(at + line, 0, 2);
    else __builtin_prefetch(at + line, 0, 3);
  }
}

template <class Sum, Distance From>
inline __attribute__((always_inline)) void add_row(const int8_t *tile, const uint32_t *row, Sum &sum) {
  if (From == Distance::kFar) fetch<Sum, From>(tile, row[kFarAhead]);
  if (From == Distance::kNear) fetch<Sum, From>(tile, row[kNearAhead]);
  sum.add(tile + (size_t)row[0] * (Sum::kVectors * kVector));
}

template <class Sum, Distance From>
inline __attribute__((always_inline)) void add_some(const int8_t *tile, const uint32_t *rows, const uint32_t *end,
                                                    Sum &sum) {
  if (Sum::kVectors >= 4) {  // two at a time pays where rows are long
    for (; rows + 1 < end; rows += 2) {
      add_row<Sum, From>(tile, rows, sum);
      add_row<Sum, From>(tile, rows + 1, sum);
    }
    if (rows < end) add_row<Sum, From>(tile, rows, sum);
  } else {
    for (; rows < end; rows++) add_row<Sum, From>(tile, rows, sum);
  }
}

template <class Sum, Distance From>
inline __attribute__((always_inline)) void add_rows(const int8_t *tile, const uint32_t *rows, int64_t count,
                                                    SignedLanes *sums) {
  Sum sum;
  int64_t left = count;
  for (; left > Sum::kTogether; left -= Sum::kTogether, rows += Sum::kTogether) {
    add_some<Sum, From>(tile, rows, rows + Sum::kTogether, sum);
    sum.widen();
  }
  add_some<Sum, From>(tile, rows, rows + left, sum);
  sum.finish(count, sums);
}

// Currents of 32 bits: what the image gave, and the sums of as many rows at a time as 16 bits surely hold.
template <class Sum, Distance From>
void add_widely(const Tile &tile, const uint32_t *rows, int64_t count, int32_t *currents) {
  do {
    const int64_t some = least(count, tile.limit);
    SignedLanes sums[2 * Sum::kWidth / kVector];
    add_rows<Sum, From>(tile.rows, rows, some, sums);
    int16_t narrow[Sum::kWidth];
    memcpy(narrow, sums, sizeof narrow);
    for (int i = 0; i < Sum::kWidth; i++) currents[i] += narrow[i];
    rows += some;
    count -= some;
  } while (count > 0);
}

template <int Width>
inline void fire(const SignedLanes *sums, const int16_t *thresholds, uint64_t *mask) {
  constexpr int kParts = 128 / kVector;
  for (int word = 0; word < Width / 64; word++) {
    uint64_t bits = 0;
#pragma GCC unroll 8
    for (int part = 0; part < kParts; part++) {
      const int at = word * kParts + part;
      bits |= above(sums[at], load<SignedLanes>(thresholds + at * kVector / 2)) << (part * kVector / 2);
    }
    mask[word] = bits;
  }
}

void fire_widely(int64_t width, const int32_t *currents, const int32_t *thresholds, uint64_t *mask) {
  for (int64_t word = 0; word < width / 64; word++) {
    uint64_t bits = 0;
    for (int i = 0; i < 64; i += kQuads) {
      const int64_t at = word * 64 + i;
      bits |= above(load<Quads>(currents + at), load<Quads>(thresholds + at)) << i;
    }
    mask[word] = bits;
  }
}

// logit = scale · sum + bias, each rounded once: a product of two 24-bit numbers is exact in double.
void read_out(const Plan &plan, const Tile &tile, const int32_t *currents, float *logits) {
  const int64_t count = least(tile.width, plan.classes - tile.channel);
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = tile.channel + i;
    const float scaled = (float)((double)plan.scale[at] * currents[i]);
    logits[at] = scaled + plan.bias[at];
  }
}

template <class Sum, Distance From>
void sweep(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space, Scratch &scratch,
           int64_t first, int64_t count) {
  const bool readout = layer.value < 0, dense = !layer.image.empty();
  const int64_t words = layer.shape.words();
  uint64_t *const mask = readout ? nullptr : space.rooms[layer.value].mask + tile.channel / 64;
  if (From == Distance::kFar) {
    const int64_t early = least(kFarAhead, scratch.begins.get()[count]);
    for (int64_t i = 0; i < early; i++) fetch<Sum, From>(tile.rows, scratch.rows.get()[i]);
  }
  for (int64_t i = 0; i < count; i++) {
    const int64_t *begins = scratch.begins.get() + i;
    const uint32_t *rows = scratch.rows.get() + begins[0];
    const int64_t heard = begins[1] - begins[0];
    if (!dense && !readout && heard <= tile.limit) {
      SignedLanes sums[2 * Sum::kWidth / kVector];
      add_rows<Sum, From>(tile.rows, rows, heard, sums);
      fire<Sum::kWidth>(sums, layer.narrow.get() + tile.channel, mask + (first + i) * words);
      continue;
    }
    int32_t *currents = scratch.currents.get() + i * tile.width;
    if (!dense) memset(currents, 0, tile.width * sizeof *currents);
    if (heard > 0) add_widely<Sum, From>(tile, rows, heard, currents);
    if (readout) {
      read_out(plan, tile, currents, space.logits);
    } else {
      fire_widely(tile.width, currents, layer.wide.get() + tile.channel, mask + (first + i) * words);
    }
  }
}

template <class Sum>
void sweep(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space, Scratch &scratch,
           int64_t first, int64_t count) {
  switch (layer.distance) {
    case Distance::kHere: return sweep<Sum, Distance::kHere>(plan, layer, tile, space, scratch, first, count);
    case Distance::kNear: return sweep<Sum, Distance::kNear>(plan, layer, tile, space, scratch, first, count);
    default: return sweep<Sum, Distance::kFar>(plan, layer, tile, space, scratch, first, count);
  }
}

template <int Width>
void sweep(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space, Scratch &scratch,
           int64_t first, int64_t count) {
  if constexpr (Width >= 2 * kVector && Width <= kWidest) {
    if (tile.bits == 4) return sweep<HalfSum<Width / kVector / 2>>(plan, layer, tile, space, scratch, first, count);
  }
  if constexpr (Width >= kVector && Width <= kWidest) {
    sweep<Sum<Width / kVector>>(plan, layer, tile, space, scratch, first, count);
  }
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
