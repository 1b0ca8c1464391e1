#include "layout.h"

#include <algorithm>

#include "kernels.h"
#include "tuning.h"

namespace snn {
namespace {

// Part of a value: its size in bytes, the phases from its first to its last use, its place.
struct Buffer {
  int64_t size = 0;
  int32_t first_phase = -1, last_phase = -1;
  int64_t offset = -1;
  bool overlaps(const Buffer &other) const {
    return first_phase <= other.last_phase && other.first_phase <= last_phase;
  }
};

class MemoryPlanner {
 public:
  explicit MemoryPlanner(Plan &plan)
      : plan_(plan), masks_(plan.values.size()), counts_(masks_), lists_(masks_) {}

  void assign_offsets() {
    for (size_t v = 1; v < plan_.values.size(); v++) measure(v);
    for (size_t i = 0; i < plan_.phases.size(); i++) {
      const Phase &phase = plan_.phases[i];
      phase_ = static_cast<int32_t>(i);
      if (phase.step != Step::kLayer) {
        use(phase.step, phase.index);
        continue;
      }
      const Layer &layer = plan_.layers[phase.index];
      for (const Geometry &g : layer.spike_inputs) extend_lifetime(lists_[g.value]);
      if (layer.shortcut.value >= 0) extend_lifetime(masks_[layer.shortcut.value]);
      if (layer.value >= 0) extend_lifetime(masks_[layer.value]);
      for (const FusedStep &fused : layer.fused) use(fused.step, fused.value);
    }
    assign();
    for (size_t v = 0; v < plan_.values.size(); v++) {
      plan_.value_offsets.push_back({masks_[v].offset, counts_[v].offset, lists_[v].offset});
    }
  }

 private:
  void measure(size_t v) {
    const Value &value = plan_.values[v];
    const Shape &shape = value.shape;
    masks_[v].size = shape.pixels() * shape.words() * 8;
    counts_[v].size = shape.pixels() * shape.channels * 4;
    const int64_t pairs = value.pairs ? shape.width : 0;
    lists_[v].size =
        shape.height * (value.max_row_events + kListPadding + shape.width + 1 + pairs) * 4;
  }

  // What a step reads and writes.
  void use(Step step, int32_t v) {
    const Value &value = plan_.values[v];
    if (step == Step::kCompressEvents) {
      extend_lifetime(lists_[v]);
      return use_numbers(v);
    }
    extend_lifetime(value.form == Form::kBits ? masks_[v] : counts_[v]);
    for (const int32_t source : value.sources) use_numbers(source);
  }

  // The parts that hold a value's numbers.
  void use_numbers(int32_t v) {
    const Value &value = plan_.values[v];
    if (value.form == Form::kCounts) return extend_lifetime(counts_[v]);
    if (value.form == Form::kBits) return extend_lifetime(masks_[v]);
    for (const Term &term : value.terms) extend_lifetime(masks_[term.base]);
  }

  void extend_lifetime(Buffer &buffer) const {
    if (buffer.first_phase < 0) buffer.first_phase = phase_;
    buffer.last_phase = phase_;
  }

  // Largest first, each at the lowest offset that is free while it lives:
  //
  //   bytes ^
  //         |  list 1   |    list 2     |
  //         |-----------+---+-----------|
  //         |  mask 1       |  mask 2   |
  //         +---------------------------> phase
  void assign() {
    std::vector<Buffer *> all;
    for (auto *buffers : {&masks_, &counts_, &lists_}) {
      for (Buffer &buffer : *buffers) {
        if (buffer.first_phase >= 0) all.push_back(&buffer);
      }
    }
    std::stable_sort(all.begin(), all.end(),
                     [](const Buffer *a, const Buffer *b) { return a->size > b->size; });
    std::vector<Buffer *> placed;  // by offset
    for (Buffer *buffer : all) {
      buffer->size = padded(buffer->size);
      buffer->offset = 0;
      for (const Buffer *other : placed) {
        if (!buffer->overlaps(*other)) continue;
        if (buffer->offset + buffer->size <= other->offset) break;
        buffer->offset = std::max(buffer->offset, other->offset + other->size);
      }
      const auto at =
          std::upper_bound(placed.begin(), placed.end(), buffer,
                           [](const Buffer *a, const Buffer *b) { return a->offset < b->offset; });
      placed.insert(at, buffer);
      plan_.value_bytes = std::max(plan_.value_bytes, buffer->offset + buffer->size);
    }
  }

  Plan &plan_;
  std::vector<Buffer> masks_, counts_,
      lists_;  // one a value; a list is its events, where they begin, and pairs
  int32_t phase_ = 0;
};

}  // namespace

void assign_offsets(Plan &plan) { MemoryPlanner(plan).assign_offsets(); }

}  // namespace snn
