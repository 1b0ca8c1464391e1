#include "stages.h"

#include <algorithm>
#include <numeric>

#include "check.h"

namespace snn {
namespace {

class Arranger {
 public:
  explicit Arranger(Plan &plan) : plan_(plan) {}

  // The order of work: the picture, then the nodes as they come. Pools of a layer and lists of its events are
  // done with it, rows by rows, so that there is little to wait for between one layer and the next.
  void arrange() {
    const std::vector<Stage> made = std::move(plan_.stages);
    plan_.stages.clear();
    const int32_t values = static_cast<int32_t>(plan_.values.size());
    for (int32_t v = 1; v < values; v++) {
      Value &value = plan_.values[v];
      value.row_events = value.shape.width * value.shape.channels * value.largest;
      if (value.heard) checked(value.row_events, value.shape.height, v - 1);
    }
    std::vector<bool> listed(values), pooled(values);
    step(Step::kPicture, 0, plan_.values[0].shape.height);
    for (const Stage &stage : made) {
      if (stage.step == Step::kLayer) {
        Layer &layer = plan_.layers[stage.index];
        divide(layer, tails(layer, listed, pooled));
        plan_.stages.push_back({Step::kLayer, stage.index, layer.bands() * layer.parts, 0});
      } else if (!pooled[stage.index]) {
        step(stage.step, stage.index, plan_.values[stage.index].shape.height);
      }
      // What the values that are now complete still lack.
      const int32_t last = stage.step == Step::kLayer ? plan_.layers[stage.index].value : stage.index;
      for (int32_t v = 1; v < values; v++) {
        const Value &value = plan_.values[v];
        const bool ready = v == last || (value.form == Form::kSum && value.base == last);
        if (!ready || !value.heard || listed[v]) continue;
        listed[v] = true;
        step(Step::kEvents, v, value.shape.height);
      }
    }
  }

 private:
  void step(Step kind, int32_t index, int64_t height) {
    const int64_t chunk = std::max<int64_t>(1, height / (2 * plan_.threads));
    plan_.stages.push_back({kind, index, (height + chunk - 1) / chunk, chunk});
  }

  // What can follow the layer rows by rows. Returns how many of its rows that takes at a time.
  int64_t tails(Layer &layer, std::vector<bool> &listed, std::vector<bool> &pooled) {
    constexpr int64_t kMostRows = 8;
    int64_t rows = 1;
    for (int32_t v = std::max(layer.value, 0); layer.value >= 0 && v < static_cast<int32_t>(listed.size()); v++) {
      const Value &value = plan_.values[v];
      const bool pool = value.form == Form::kBits && value.source == layer.value;
      const bool sum = value.form == Form::kSum && value.base == layer.value;
      const int64_t scale = pool ? value.kernel : sum ? value.window : 1;
      if (!(v == layer.value || pool || sum) || std::lcm(rows, scale) > kMostRows) continue;
      rows = std::lcm(rows, scale);
      if (pool) {
        layer.tails.push_back({Step::kAny, v, scale});
        pooled[v] = true;
      }
      if (!value.heard) continue;
      layer.tails.push_back({Step::kEvents, v, scale});
      listed[v] = true;
    }
    return rows;
  }

  // Units of work: bands of rows; tiles too where weights are many, so that each is brought to one core only,
  // or rows are few.
  void divide(Layer &layer, int64_t rows) {
    const int64_t tiles = static_cast<int64_t>(layer.tiles.size()), shares = 2 * plan_.threads;
    const bool far = layer.distance != Distance::kHere;
    const int64_t bands = plan_.threads == 1 ? 1 : far ? (shares + tiles - 1) / tiles : 2 * shares;
    layer.rows = rows;
    while (layer.rows * layer.shape.width < 64 && layer.shape.height / (layer.rows + rows) >= bands) {
      layer.rows += rows;
    }
    const bool few = plan_.threads > 1 && layer.bands() < shares;
    layer.parts = far || few ? tiles : 1;
  }

  Plan &plan_;
};

}  // namespace

void arrange(Plan &plan) { Arranger(plan).arrange(); }

}  // namespace snn
