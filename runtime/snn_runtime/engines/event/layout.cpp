#include "layout.h"

#include <algorithm>

#include "kernels.h"

namespace snn {
namespace {

constexpr int64_t kLine = 64, kSlack = 256;  // as Array has it: a kernel may read or write one vector too far

struct Buffer {
  int64_t size = 0;                // bytes
  int32_t first = -1, last = -1;   // stages that need it
  int64_t place = -1;
  bool meets(const Buffer &other) const { return first <= other.last && other.first <= last; }
};

class Layout {
 public:
  explicit Layout(Plan &plan) : plan_(plan), masks_(plan.values.size()), counts_(masks_), lists_(masks_) {}

  void lay_out() {
    for (size_t v = 1; v < plan_.values.size(); v++) measure(v);
    for (size_t s = 0; s < plan_.stages.size(); s++) {
      const Stage &stage = plan_.stages[s];
      stage_ = static_cast<int32_t>(s);
      if (stage.step != Step::kLayer) {
        step(stage.step, stage.index);
        continue;
      }
      const Layer &layer = plan_.layers[stage.index];
      for (const Geometry &g : layer.spikes) need(lists_[g.value]);
      if (layer.value >= 0) need(masks_[layer.value]);
      for (const Tail &tail : layer.tails) step(tail.step, tail.value);
    }
    place();
    for (size_t v = 0; v < plan_.values.size(); v++) {
      plan_.places.push_back({masks_[v].place, counts_[v].place, lists_[v].place});
    }
  }

 private:
  void measure(size_t v) {
    const Value &value = plan_.values[v];
    const Shape &shape = value.shape;
    masks_[v].size = shape.pixels() * shape.words() * 8;
    counts_[v].size = shape.pixels() * shape.channels * 4;
    lists_[v].size = shape.height * (value.row_events + kExcess + shape.width + 1) * 4;
  }

  // What a step reads and writes.
  void step(Step kind, int32_t v) {
    if (kind == Step::kPicture) return;
    const Value &value = plan_.values[v];
    if (kind == Step::kEvents) {
      need(lists_[v]);
      return holds(v);
    }
    need(kind == Step::kAny ? masks_[v] : counts_[v]);
    holds(value.source);
  }

  // What says which numbers a value sends.
  void holds(int32_t v) {
    const Value &value = plan_.values[v];
    if (value.form == Form::kCounts) return need(counts_[v]);
    need(masks_[value.form == Form::kSum ? value.base : v]);
  }

  void need(Buffer &buffer) const {
    if (buffer.first < 0) buffer.first = stage_;
    buffer.last = stage_;
  }

  // The largest first, each as low as those that it meets leave room for.
  void place() {
    std::vector<Buffer *> all;
    for (auto *buffers : {&masks_, &counts_, &lists_}) {
      for (Buffer &buffer : *buffers) {
        if (buffer.first >= 0) all.push_back(&buffer);
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const Buffer *a, const Buffer *b) { return a->size > b->size; });
    std::vector<Buffer *> placed;  // by place
    for (Buffer *buffer : all) {
      buffer->size = (buffer->size + kSlack + kLine - 1) / kLine * kLine;
      buffer->place = 0;
      for (const Buffer *other : placed) {
        if (!buffer->meets(*other)) continue;
        if (buffer->place + buffer->size <= other->place) break;
        buffer->place = std::max(buffer->place, other->place + other->size);
      }
      const auto at = std::upper_bound(placed.begin(), placed.end(), buffer,
                                       [](const Buffer *a, const Buffer *b) { return a->place < b->place; });
      placed.insert(at, buffer);
      plan_.room = std::max(plan_.room, buffer->place + buffer->size);
    }
  }

  Plan &plan_;
  std::vector<Buffer> masks_, counts_, lists_;  // of each value; a list is its events and where they start
  int32_t stage_ = 0;
};

}  // namespace

void lay_out(Plan &plan) { Layout(plan).lay_out(); }

}  // namespace snn
