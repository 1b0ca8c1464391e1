// Currents, the sums of weight rows, and the spikes they cause. Part of kernels.cpp.
//
// Acc is an accumulator of simd-inl.h: Accumulator8<N> or Accumulator4<N>. Where says where the
// weights stay between images.
#ifndef SNN_EVENT_CURRENTS_INL_H
#define SNN_EVENT_CURRENTS_INL_H

#include "gather-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

// The channels of a tile that an accumulator holds: all, or of a tile wider than the registers a part
// of each row.
template <class Acc>
struct Strip {
  static constexpr bool kPart = Acc::kWidth == kMaxTileWidth && kMaxTileWidth < kWidestTile;
  const int8_t *rows;
  int64_t tile_row_bytes;

  const int8_t *row(uint32_t row) const {
    return rows + static_cast<size_t>(row) * (kPart ? tile_row_bytes : Acc::kRowBytes);
  }
};

template <class Acc, Residency Where>
SNN_INLINE void prefetch_row(const Strip<Acc> &strip, uint32_t row) {
  const int8_t *at = strip.row(row);
  for (int line = 0; line < Acc::kRowBytes; line += 64) {
    if (Where == Residency::kBeyondL2 && Acc::kRowBytes > kPrefetchL1MaxBytes) {
      __builtin_prefetch(at + line, 0, 2);  // into L2
    } else {
      __builtin_prefetch(at + line, 0, 3);  // into L1
    }
  }
}

template <class Acc, Residency Where>
SNN_INLINE void add_row(const Strip<Acc> &strip, const uint32_t *row, Acc &sum) {
  if (Where == Residency::kBeyondL2) prefetch_row<Acc, Where>(strip, row[kPrefetchRowsBeyondL2]);
  if (Where == Residency::kL2) prefetch_row<Acc, Where>(strip, row[kPrefetchRowsL2]);
  sum.add(strip.row(row[0]));
}

// Adds rows whose sum needs no widening.
template <class Acc, Residency Where>
SNN_INLINE void add_chunk(const Strip<Acc> &strip, const uint32_t *rows, const uint32_t *end,
                          Acc &sum) {
  constexpr int kTurn = Acc::kVectors >= kLongRowVectors ? kLongRowsATurn : kRowsATurn;
  for (; rows + kTurn <= end; rows += kTurn) {
    SNN_UNROLL(4)
    for (int i = 0; i < kTurn; i++) add_row<Acc, Where>(strip, rows + i, sum);
  }
  for (; rows < end; rows++) add_row<Acc, Where>(strip, rows, sum);
}

// sums[channel] = Σ of `count` rows. They must fit 16 bits.
template <class Acc, Residency Where>
SNN_INLINE void add_rows(const Strip<Acc> &strip, const uint32_t *rows, int64_t count,
                         VecI16 *sums) {
  constexpr int64_t kChunk = Acc::kRowsBeforeWidening;
  Acc sum;
  int64_t left = count;
  for (; left > kChunk; left -= kChunk, rows += kChunk) {
    add_chunk<Acc, Where>(strip, rows, rows + kChunk, sum);
    sum.widen(kChunk);
  }
  add_chunk<Acc, Where>(strip, rows, rows + left, sum);
  sum.finish(left, sums);
}

// sums[channel] += Σ of `count` rows of a tile, strip by strip, as many rows at a time as 16 bits
// surely hold. Of a wide tile they are few, so that a row's strips are read one soon after the other.
// A function of its own: what surrounds it would take registers from its loops.
template <class Acc, Residency Where, class Sum>
SNN_NOINLINE void add_strips(const Tile &tile, const uint32_t *rows, int64_t count, Sum *sums) {
  static_assert(kStripRows * 128 <= INT16_MAX, "16 bits hold so many rows");
  const int64_t most = tile.width > Acc::kWidth ? kStripRows : tile.event_limit;
  for (int64_t some = 0; count > 0; rows += some, count -= some) {
    some = min(count, most);
    for (int64_t channel = 0; channel < tile.width; channel += Acc::kWidth) {
      const Strip<Acc> strip = {tile.rows + channel * tile.bits / 8, tile.row_bytes()};
      VecI16 own[2 * Acc::kWidth / kVectorBytes];
      add_rows<Acc, Where>(strip, rows, some, own);
      int16_t own16[Acc::kWidth];
      memcpy(own16, own, sizeof own16);
      for (int i = 0; i < Acc::kWidth; i++) sums[channel + i] += own16[i];
    }
  }
}

// Bit i of the mask: current i exceeds threshold i, in 16 bits.
template <int Width>
SNN_INLINE void compare16(const VecI16 *currents, const int16_t *thresholds, uint64_t *mask) {
  constexpr int kParts = 64 / kLanes16;
  for (int word = 0; word < Width / 64; word++) {
    uint64_t bits = 0;
    SNN_UNROLL(8)
    for (int part = 0; part < kParts; part++) {
      const int at = word * kParts + part;
      bits |= greater_mask(currents[at], load<VecI16>(thresholds + at * kLanes16))
              << (part * kLanes16);
    }
    mask[word] = bits;
  }
}

// The same in 32 bits.
void compare32(int64_t width, const int32_t *currents, const int32_t *thresholds, uint64_t *mask) {
  for (int64_t word = 0; word < width / 64; word++) {
    uint64_t bits = 0;
    for (int i = 0; i < 64; i += kLanes32) {
      const int64_t at = word * 64 + i;
      bits |= greater_mask(load<VecI32>(currents + at), load<VecI32>(thresholds + at)) << i;
    }
    mask[word] = bits;
  }
}

// The neurons of a tile. Those whose source fired through a shortcut have thresholds of their own.
class Neurons {
 public:
  Neurons(const Layer &layer, const Tile &tile, const Workspace &space)
      : layer_(layer),
        first_(tile.first_channel),
        words_(layer.shape.words()),
        level_words_(layer.shape.level_words()) {
    if (layer.value >= 0) mask_ = space.buffers[layer.value].mask + first_ / 64;
    if (layer.shortcut.value >= 0) source_ = space.buffers[layer.shortcut.value].mask + first_ / 64;
  }

  // From the currents of a pixel, in 16 bits, of the tile's channels from `channel` on.
  template <int Width>
  SNN_INLINE void fire16(const VecI16 *currents, int64_t channel, int64_t pixel) const {
    uint64_t *mask = mask_ + pixel * words_ + channel / 64;
    int64_t at = first_ + channel;  // of the level's thresholds
    for (int64_t level = 0; level < layer_.shape.levels; level++) {
      compare16<Width>(currents, layer_.thresholds16.get() + at, mask);
      if (source_) {
        uint64_t other[Width / 64];
        compare16<Width>(currents, layer_.shortcut.thresholds16.get() + at, other);
        select(Width / 64, source_ + pixel * level_words_ + channel / 64, other, mask);
      }
      mask += level_words_;
      at += level_words_ * 64;
    }
  }

  // The same in 32 bits.
  void fire32(int64_t width, const int32_t *currents, int64_t pixel) const {
    uint64_t *mask = mask_ + pixel * words_;
    int64_t at = first_;
    for (int64_t level = 0; level < layer_.shape.levels; level++) {
      compare32(width, currents, layer_.thresholds32.get() + at, mask);
      if (source_) {
        uint64_t other[kWidestTile / 64];
        compare32(width, currents, layer_.shortcut.thresholds32.get() + at, other);
        select(width / 64, source_ + pixel * level_words_, other, mask);
      }
      mask += level_words_;
      at += level_words_ * 64;
    }
  }

 private:
  // Takes the bits of `other` where the source fired.
  static SNN_INLINE void select(int64_t words, const uint64_t *source, const uint64_t *other,
                                uint64_t *mask) {
    for (int64_t w = 0; w < words; w++) mask[w] ^= (mask[w] ^ other[w]) & source[w];
  }

  const Layer &layer_;
  const int64_t first_, words_, level_words_;
  uint64_t *mask_ = nullptr;
  const uint64_t *source_ = nullptr;
};

// logit = scale · sum + bias, each rounded once: a product of two 24-bit numbers is exact in
// double.
void write_logits(const Plan &plan, const Tile &tile, const int32_t *currents, float *logits) {
  const int64_t count = min(tile.width, plan.classes - tile.first_channel);
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = tile.first_channel + i;
    const float scaled = static_cast<float>(static_cast<double>(plan.scale[at]) * currents[i]);
    logits[at] = scaled + plan.bias[at];
  }
}

// Fires a pixel of a tile wider than the registers, whose sums fit 16 bits.
template <class Acc, Residency Where>
void fire_strips(const Tile &tile, const uint32_t *rows, int64_t count, const Neurons &neurons,
                 int64_t pixel) {
  int16_t sums[kWidestTile] = {};
  add_strips<Acc, Where>(tile, rows, count, sums);
  for (int64_t channel = 0; channel < tile.width; channel += Acc::kWidth) {
    VecI16 own[2 * Acc::kWidth / kVectorBytes];
    memcpy(own, sums + channel, sizeof own);
    neurons.fire16<Acc::kWidth>(own, channel, pixel);
  }
}

// Adds the gathered rows of `count` output pixels from `first` on to the currents of a tile's
// channels, and fires, or writes logits. Without an image and within the event limit, all of it
// stays in registers, unless the tile is wider.
template <class Acc, Residency Where>
void accumulate_tile(const Plan &plan, const Layer &layer, const Tile &tile, Workspace &space,
                     Scratch &scratch, int64_t first, int64_t count) {
  const bool readout = layer.value < 0, dense = !layer.image_inputs.empty();
  const Neurons neurons(layer, tile, space);
  const Strip<Acc> whole = {tile.rows, tile.row_bytes()};
  if (Where == Residency::kBeyondL2) {
    const int64_t early = min(kPrefetchRowsBeyondL2, scratch.begins.get()[count]);
    for (int64_t i = 0; i < early; i++) prefetch_row<Acc, Where>(whole, scratch.rows.get()[i]);
  }
  for (int64_t i = 0; i < count; i++) {
    const int64_t *begins = scratch.begins.get() + i;
    const uint32_t *rows = scratch.rows.get() + begins[0];
    const int64_t events = begins[1] - begins[0];
    if (!dense && !readout && events <= tile.event_limit) {
      if (Strip<Acc>::kPart && tile.width > Acc::kWidth) {
        fire_strips<Acc, Where>(tile, rows, events, neurons, first + i);
      } else {
        VecI16 sums[2 * Acc::kWidth / kVectorBytes];
        add_rows<Acc, Where>(whole, rows, events, sums);
        neurons.fire16<Acc::kWidth>(sums, 0, first + i);
      }
      continue;
    }
    int32_t *currents = scratch.currents.get() + i * tile.width;
    if (!dense) memset(currents, 0, tile.width * sizeof *currents);
    add_strips<Acc, Where>(tile, rows, events, currents);
    if (readout) {
      write_logits(plan, tile, currents, space.logits);
    } else {
      neurons.fire32(tile.width, currents, first + i);
    }
  }
}

using Accumulate = void (*)(const Plan &, const Layer &, const Tile &, Workspace &, Scratch &,
                            int64_t first, int64_t count);

template <class Acc>
Accumulate accumulate_from(Residency residency) {
  switch (residency) {
    case Residency::kL1: return accumulate_tile<Acc, Residency::kL1>;
    case Residency::kL2: return accumulate_tile<Acc, Residency::kL2>;
    default: return accumulate_tile<Acc, Residency::kBeyondL2>;
  }
}

template <int Width>
Accumulate accumulate_width(const Tile &tile, Residency residency) {
  if constexpr (Width >= 2 * kVectorBytes && Width <= kMaxTileWidth) {
    if (tile.bits == 4) return accumulate_from<Accumulator4<Width / kVectorBytes / 2>>(residency);
  }
  if constexpr (Width >= kVectorBytes && Width <= kMaxTileWidth) {
    return accumulate_from<Accumulator8<Width / kVectorBytes>>(residency);
  }
  return nullptr;  // Packer makes no such tile
}

// The instance of accumulate_tile for a tile: strips as wide as the registers hold.
Accumulate accumulate_for(const Tile &tile, Residency residency) {
  switch (min(tile.width, kMaxTileWidth)) {
    case 64: return accumulate_width<64>(tile, residency);
    case 128: return accumulate_width<128>(tile, residency);
    case 256: return accumulate_width<256>(tile, residency);
    default: return accumulate_width<512>(tile, residency);
  }
}

}  // namespace
}  // namespace SNN_ISA
}  // namespace snn
#endif
