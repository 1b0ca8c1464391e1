// The work itself, compiled once for each instruction set: keep the standard library's inline functions out,
// or the linker may pick the copy that needs AVX-512 for everybody.
#include "kernels.h"

#include "currents.h"
#include "gather.h"
#include "picture.h"
#include "pools.h"
#include "simd.h"

namespace snn {
namespace SNN_ISA {
namespace {

void run_block(const Plan &plan, const Layer &layer, size_t begin, size_t end, int64_t first, int64_t count,
               Workspace &space, Scratch &scratch) {
  for (size_t t = begin; t < end; t++) {
    const Tile &tile = layer.tiles[t];
    if (!layer.spikes.empty() && (t == begin || layer.grouped)) {
      gather_block(plan, layer, tile, space, scratch, first, count);
    }
    if (!layer.image.empty()) see_block(plan, layer, tile, space, scratch, first, count);
    if (layer.spikes.empty()) continue;
    switch (tile.width) {
      case 64: sweep<64>(plan, layer, tile, space, scratch, first, count); break;
      case 128: sweep<128>(plan, layer, tile, space, scratch, first, count); break;
      case 256: sweep<256>(plan, layer, tile, space, scratch, first, count); break;
      default: sweep<512>(plan, layer, tile, space, scratch, first, count);
    }
  }
}

void run_layer(const Plan &plan, const Layer &layer, int64_t unit, Workspace &space, Scratch &scratch) {
  const int64_t part = unit % layer.parts, row = unit / layer.parts * layer.rows;
  const size_t begin = layer.parts == 1 ? 0 : part, end = layer.parts == 1 ? layer.tiles.size() : part + 1;
  const int64_t last = least(row + layer.rows, layer.shape.height) * layer.shape.width;
  for (int64_t first = row * layer.shape.width; first < last; first += layer.block) {
    run_block(plan, layer, begin, end, first, least(layer.block, last - first), space, scratch);
  }
}

void step(const Plan &plan, Step kind, int32_t index, int64_t row, Workspace &space) {
  switch (kind) {
    case Step::kPicture: return centre(plan, row, space);
    case Step::kAny: return any(plan, index, row, space);
    case Step::kMaximum: return count(plan, index, true, row, space);
    case Step::kCount: return count(plan, index, false, row, space);
    default: return tell(plan, index, row, space);
  }
}

void execute(const Plan &plan, const Stage &stage, int64_t unit, Workspace &space, Scratch &scratch) {
  if (stage.step == Step::kLayer) return run_layer(plan, plan.layers[stage.index], unit, space, scratch);
  const int64_t last = least((unit + 1) * stage.chunk, plan.values[stage.index].shape.height);
  for (int64_t row = unit * stage.chunk; row < last; row++) step(plan, stage.step, stage.index, row, space);
}

void finish(const Plan &plan, const Layer &layer, int64_t band, Workspace &space) {
  const int64_t first = band * layer.rows, last = least(first + layer.rows, layer.shape.height);
  for (const Tail &tail : layer.tails) {
    for (int64_t row = first / tail.scale; row < last / tail.scale; row++) {
      step(plan, tail.step, tail.value, row, space);
    }
  }
}

uint64_t read(const int8_t *bytes, int64_t count) {
  Lanes sums[4] = {};
  for (int64_t i = 0; i + 4 * kVector <= count; i += 4 * kVector) {
    for (int v = 0; v < 4; v++) sums[v] ^= load<Lanes>(bytes + i + v * kVector);
  }
  const Lanes all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  uint64_t result;
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
const Kernels SNN_KERNELS(SNN_ISA) = {SNN_NAME(SNN_ISA),     SNN_ISA::kVector,  SNN_ISA::kWidest,
                                      SNN_ISA::kInterleaved, SNN_ISA::kTaken,  SNN_ISA::execute, SNN_ISA::finish,
                                      SNN_ISA::read};

}  // namespace snn
