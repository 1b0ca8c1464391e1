// The work itself, compiled once for each instruction set: keep the standard library's inline
// functions out, or the linker may pick the copy that needs AVX-512 for everybody.
#include "kernels.h"

#include "count-inl.h"
#include "currents-inl.h"
#include "gather-inl.h"
#include "image-inl.h"
#include "pools-inl.h"
#include "roll-inl.h"
#include "scatter-inl.h"
#include "simd-inl.h"

namespace snn {
namespace SNN_ISA {
namespace {

// Tiles [begin, end) of a layer for `count` output pixels from `first` on.
void run_block(const Plan &plan, const Layer &layer, size_t begin, size_t end, int64_t first,
               int64_t count, Workspace &space, Scratch &scratch) {
  for (size_t t = begin; t < end; t++) {
    const Tile &tile = layer.tiles[t];
    if (!layer.fires_from_image() && (t == begin || layer.grouped)) {
      gather_block(plan, layer, tile, space, scratch, first, count);
    }
    if (!layer.image_inputs.empty())
      convolve_image(plan, layer, tile, space, scratch, first, count, t == begin);
    if (layer.fires_from_image()) continue;
    accumulate_for(tile, layer.residency)(plan, layer, tile, space, scratch, first, count);
  }
}

void run_layer(const Plan &plan, const Layer &layer, int64_t unit, Workspace &space,
               Scratch &scratch) {
  const int64_t part = unit % layer.tile_parts, row = unit / layer.tile_parts * layer.band_rows;
  const size_t begin = layer.tile_parts == 1 ? 0 : part;
  const size_t end = layer.tile_parts == 1 ? layer.tiles.size() : part + 1;
  const int64_t end_row = min(row + layer.band_rows, layer.shape.height);
  if (layer.rolls) {
    for (size_t t = begin; t < end; t++) {
      run_rolled(plan, layer, layer.tiles[t], space, scratch, row, end_row);
    }
    return;
  }
  const int64_t last = end_row * layer.shape.width;
  for (int64_t first = row * layer.shape.width; first < last; first += layer.block_pixels) {
    run_block(plan, layer, begin, end, first, min(layer.block_pixels, last - first), space,
              scratch);
  }
}

void run_step(const Plan &plan, Step step, int32_t index, int64_t row, Workspace &space) {
  switch (step) {
    case Step::kCompute: return compute(plan, index, row, space);
    default: return compress_events(plan, index, row, space);
  }
}

void execute(const Plan &plan, const Phase &phase, int64_t unit, Workspace &space,
             Scratch &scratch) {
  if (phase.step == Step::kLayer)
    return run_layer(plan, plan.layers[phase.index], unit, space, scratch);
  const int64_t last = min((unit + 1) * phase.unit_rows, plan.values[phase.index].shape.height);
  for (int64_t row = unit * phase.unit_rows; row < last; row++) {
    run_step(plan, phase.step, phase.index, row, space);
  }
}

void run_fused(const Plan &plan, const Layer &layer, int64_t band, Workspace &space) {
  const int64_t first = band * layer.band_rows;
  const int64_t last = min(first + layer.band_rows, layer.shape.height);
  for (const FusedStep &fused : layer.fused) {
    for (int64_t row = first / fused.scale; row < last / fused.scale; row++) {
      run_step(plan, fused.step, fused.value, row, space);
    }
  }
}

// Reads a buffer as fast as rows are read, for snn_event_bandwidth.
uint64_t read_bytes(const int8_t *bytes, int64_t count) {
  VecU16 sums[4] = {};
  for (int64_t i = 0; i + 4 * kVectorBytes <= count; i += 4 * kVectorBytes) {
    for (int v = 0; v < 4; v++) sums[v] ^= load<VecU16>(bytes + i + v * kVectorBytes);
  }
  const VecU16 all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  uint64_t result = 0;
  memcpy(&result, &all, sizeof result);
  return result;
}

}  // namespace
}  // namespace SNN_ISA

#define SNN_PASTE(prefix, isa) prefix##isa
#define SNN_KERNELS(isa) SNN_PASTE(kernels_, isa)
#define SNN_QUOTE(isa) #isa
#define SNN_NAME(isa) SNN_QUOTE(isa)

extern const Kernels SNN_KERNELS(SNN_ISA);
const Kernels SNN_KERNELS(SNN_ISA) = {
    SNN_NAME(SNN_ISA),
    SNN_ISA::kVectorBytes,
    SNN_ISA::kMaxTileWidth,
    SNN_ISA::kRollWidth4,
    SNN_ISA::kRollWidth8,
    SNN_ISA::kRollMinSide4,
    SNN_ISA::kRollMinSide8,
    SNN_ISA::kScatters,
    SNN_ISA::kInterleaved,
    SNN_ISA::ByteProducts::kMaxSum,
    SNN_ISA::ByteProducts::kBias,
    SNN_ISA::execute,
    SNN_ISA::run_fused,
    SNN_ISA::count_spikes,
    SNN_ISA::take_counts,
    SNN_ISA::distance,
    SNN_ISA::read_bytes,
};

}  // namespace snn
