#include "schedule.h"

#include <algorithm>
#include <numeric>

#include "check.h"
#include "tuning.h"

namespace snn {
namespace {

class Scheduler {
 public:
  explicit Scheduler(Plan &plan) : plan_(plan) {}

  // The nodes as they come. Pools of a layer and lists of its events are fused with
  // it, band by band, so that there is little to wait for between one layer and the next.
  void schedule() {
    const std::vector<Phase> nodes = std::move(plan_.phases);
    plan_.phases.clear();
    const int32_t values = static_cast<int32_t>(plan_.values.size());
    for (int32_t v = 1; v < values; v++) {
      Value &value = plan_.values[v];
      value.max_row_events = value.shape.width * value.shape.channels * value.max_value;
      if (value.needs_events) checked_product(value.max_row_events, value.shape.height, v - 1);
    }
    std::vector<bool> listed(values), computed(values);
    for (const Phase &phase : nodes) {
      if (phase.step == Step::kLayer) {
        Layer &layer = plan_.layers[phase.index];
        divide(layer, fuse(layer, listed, computed));
        plan_.phases.push_back({Step::kLayer, phase.index, layer.bands() * layer.tile_parts, 0});
      } else if (!computed[phase.index]) {
        add_phase(phase.step, phase.index, plan_.values[phase.index].shape.height);
      }
      // Lists of events of the values that are now complete.
      const int32_t last =
          phase.step == Step::kLayer ? plan_.layers[phase.index].value : phase.index;
      for (int32_t v = 1; v < values; v++) {
        const Value &value = plan_.values[v];
        const bool ready = v == last || (value.form == Form::kSum && value.last_base() == last);
        if (!ready || !value.needs_events || listed[v]) continue;
        listed[v] = true;
        add_phase(Step::kCompressEvents, v, value.shape.height);
      }
    }
  }

 private:
  int64_t wanted_units() const { return kUnitsPerThread * plan_.threads; }

  void add_phase(Step step, int32_t index, int64_t height) {
    const int64_t rows = std::max<int64_t>(1, height / wanted_units());
    plan_.phases.push_back({step, index, (height + rows - 1) / rows, rows});
  }

  // Fuses with a layer what can follow it band by band. Returns the rows that a band must be a
  // multiple of.
  int64_t fuse(Layer &layer, std::vector<bool> &listed, std::vector<bool> &computed) {
    int64_t rows = 1;
    for (int32_t v = std::max(layer.value, 0);
         layer.value >= 0 && v < static_cast<int32_t>(listed.size()); v++) {
      const Value &value = plan_.values[v];
      // Of the layer itself and of earlier values alone, whose phases are complete.
      const bool bits =
          value.form == Form::kBits && !value.sources.empty() &&
          *std::max_element(value.sources.begin(), value.sources.end()) == layer.value;
      const bool sum = value.form == Form::kSum && value.last_base() == layer.value;
      const int64_t scale = bits ? value.kernel : sum ? window_on(value, layer.value) : 1;
      if (!(v == layer.value || bits || sum) || std::lcm(rows, scale) > kMaxFusedRows) continue;
      rows = std::lcm(rows, scale);
      if (bits) {
        layer.fused.push_back({Step::kCompute, v, scale});
        computed[v] = true;
      }
      if (!value.needs_events) continue;
      layer.fused.push_back({Step::kCompressEvents, v, scale});
      listed[v] = true;
    }
    return rows;
  }

  // Rows of `base` that a row of the sum needs; more than can wait, if its terms do not agree.
  static int64_t window_on(const Value &sum, int32_t base) {
    int64_t rows = 0;
    for (const Term &term : sum.terms) {
      if (term.base == base && rows && rows != term.window) return kMaxFusedRows + 1;
      if (term.base == base) rows = term.window;
    }
    return rows;
  }

  // Units of work: bands of rows. Tiles too where weights are many, so that each is brought to one
  // core only, or where rows are few.
  void divide(Layer &layer, int64_t rows) {
    if (layer.rolls) return divide_rolled(layer, rows);
    const int64_t tiles = static_cast<int64_t>(layer.tiles.size()), wanted = wanted_units();
    const bool far = layer.far;
    const int64_t bands = plan_.threads == 1 ? 1 : far ? (wanted + tiles - 1) / tiles : 2 * wanted;
    layer.band_rows = rows;
    while (layer.band_rows * layer.shape.width < kBandPixels &&
           layer.shape.height / (layer.band_rows + rows) >= bands) {
      layer.band_rows += rows;
    }
    const bool few = plan_.threads > 1 && layer.bands() < wanted;
    layer.tile_parts = far || few ? tiles : 1;
  }

  // A tile that rolls goes over as many rows at once as leave each thread its units: every band
  // begins with rows of the source that the one before has read.
  void divide_rolled(Layer &layer, int64_t rows) {
    const int64_t tiles = static_cast<int64_t>(layer.tiles.size());
    const int64_t bands = plan_.threads == 1 ? 1 : (wanted_units() + tiles - 1) / tiles;
    layer.band_rows = (layer.shape.height + bands - 1) / bands;
    layer.band_rows = (layer.band_rows + rows - 1) / rows * rows;
    layer.tile_parts = plan_.threads == 1 ? 1 : tiles;
  }

  Plan &plan_;
};

}  // namespace

void schedule(Plan &plan) { Scheduler(plan).schedule(); }

}  // namespace snn
