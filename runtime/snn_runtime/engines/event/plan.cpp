#include "plan.h"

#include <algorithm>

#include "bounds.h"
#include "check.h"
#include "kernels.h"
#include "layout.h"
#include "pack.h"
#include "schedule.h"
#include "tuning.h"

namespace snn {
namespace {

class Planner {
 public:
  Planner(const snn_graph &graph, const Kernels &kernels, int32_t threads) : graph_(graph) {
    plan_.kernels = &kernels;
    plan_.threads = threads;
  }

  Plan build() {
    add_image();
    for (int32_t n = 0; n < graph_.nodes; n++) {
      const snn_node &node = graph_.node[n];
      switch (node.kind) {
        case SNN_POPULATION: add_population(node, n); break;
        case SNN_MAX_POOL:
        case SNN_SUM_POOL: add_pool(node, n); break;
        case SNN_ADD:
        case SNN_AND:
        case SNN_IAND: add_elementwise(node, n); break;
        default: require(false, n, "is of no known kind");
      }
    }
    if (next_projection_ != graph_.projections) refuse("some projections belong to no node");
    add_readout();
    schedule(plan_);
    assign_offsets(plan_);
    return std::move(plan_);
  }

 private:
  void add_image() {
    if (graph_.nodes < 0 || graph_.projections < 0 || graph_.weight_count < 0 ||
        graph_.threshold_count < 0) {
      refuse("a count is negative");
    }
    if (graph_.height < 1 || graph_.height > kMaxSide || graph_.width < 1 ||
        graph_.width > kMaxSide) {
      refuse("the image has no pixels or more than 65535 a side");
    }
    Value value;
    value.shape = checked_shape(3, graph_.height, graph_.width, -1);
    value.form = Form::kImage;
    value.max_value = 255;
    for (int c = 0; c < 3; c++) {
      if (graph_.offset[c] < 0 || graph_.offset[c] > 255)
        refuse("a colour's offset is not 0 to 255");
      plan_.offset[c] = graph_.offset[c];
    }
    plan_.values.push_back(value);
  }

  Value &source(int32_t index, int32_t node) {
    require(index >= 0 && index < static_cast<int32_t>(plan_.values.size()), node,
            "its source comes later");
    return plan_.values[index];
  }

  void add_pool(const snn_node &node, int32_t n) {
    const Value from = source(node.source[0], n);
    const bool maximum = node.kind == SNN_MAX_POOL;
    const int64_t k = node.kernel;
    require(from.form != Form::kImage, n, "pools the image");
    require(k >= 1 && k <= from.shape.height && k <= from.shape.width, n,
            "its window does not fit");
    Value value;
    // The OR of every level is the level's bit of the maximum, for higher levels have fewer bits.
    value.shape = {from.shape.channels, from.shape.height / k, from.shape.width / k,
                   maximum ? from.shape.levels : 1};
    value.kind = node.kind;
    value.sources = {node.source[0]};
    value.kernel = k;
    value.max_value = maximum ? from.max_value : checked_product(from.max_value, k * k, n);
    if (!maximum) value.terms = terms(node.source[0], k);
    add_weightless(std::move(value));
  }

  void add_elementwise(const snn_node &node, int32_t n) {
    const Value x = source(node.source[0], n), y = source(node.source[1], n);
    require(x.form != Form::kImage && y.form != Form::kImage, n, "joins the image");
    require(x.shape.channels == y.shape.channels && x.shape.height == y.shape.height &&
                x.shape.width == y.shape.width,
            n, "its sources have different shapes");
    Value value;
    value.shape = x.shape;
    value.shape.levels = 1;
    value.kind = node.kind;
    value.sources = {node.source[0], node.source[1]};
    if (node.kind == SNN_ADD) {
      value.max_value = checked_product(x.max_value + y.max_value, 1, n);
      value.terms = both_terms(node.source[0], node.source[1]);
    } else {
      require(x.max_value == 1 && y.max_value == 1, n, "joins counts bit by bit");
    }
    add_weightless(std::move(value));
  }

  // What a sum of two values counts: the terms of both, unless one is stored as counts or they are
  // so many that adding the numbers is less work.
  std::vector<Term> both_terms(int32_t x, int32_t y) const {
    std::vector<Term> first = terms(x, 1);
    const std::vector<Term> second = terms(y, 1);
    const bool listed = !first.empty() && !second.empty();
    if (!listed || first.size() + second.size() > kMaxTerms) return {};
    first.insert(first.end(), second.begin(), second.end());
    return first;
  }

  // What a sum over windows of a value counts; of sums it is a sum over larger windows. Nothing
  // where the value is stored as counts.
  std::vector<Term> terms(int32_t source, int64_t window) const {
    const Value &value = plan_.values[source];
    if (value.form == Form::kBits) return {{source, window}};
    std::vector<Term> result = value.terms;
    for (Term &term : result) term.window *= window;
    return result;
  }

  // A value that has no terms is computed.
  void add_weightless(Value value) {
    const int32_t index = static_cast<int32_t>(plan_.values.size());
    const bool bits = value.max_value == value.shape.levels;
    if (bits) value.terms.clear();
    value.form = bits ? Form::kBits : value.terms.empty() ? Form::kCounts : Form::kSum;
    if (value.terms.empty()) plan_.phases.push_back({Step::kCompute, index, 0, 0});
    plan_.values.push_back(std::move(value));
  }

  void add_population(const snn_node &node, int32_t n) {
    require(node.projections >= 1 && node.projections <= graph_.projections - next_projection_, n,
            "has no projections or more than there are");
    require(node.channels >= 1 && node.channels <= kMaxSide, n,
            "has no channels or more than 65535");
    require(node.positions == 0 || node.positions == 1, n, "has thresholds of no known kind");
    require(node.levels >= 1 && node.levels <= UINT8_MAX, n, "has no levels or more than 255");
    require(node.levels == 1 || !node.positions, n, "has levels and thresholds for positions");
    Layer layer;
    layer.value = static_cast<int32_t>(plan_.values.size());
    const snn_projection *const first = graph_.projection + next_projection_;
    next_projection_ += node.projections;
    const int64_t max_current =
        check_projections(layer, first, first + node.projections, node.channels, n);
    layer.shape.levels = node.levels;
    take_shortcut(layer);
    list_events(layer);
    const int64_t each = node.positions ? layer.shape.pixels() : node.levels;
    const int64_t count = checked_product(node.channels, each, n);
    require(node.threshold >= 0 && node.threshold <= graph_.threshold_count - count, n,
            "its thresholds are not there");
    pack(plan_, graph_, layer, n);
    const int32_t *thresholds = graph_.thresholds + node.threshold;
    for (int64_t i = node.channels; i < count && !node.positions; i++)
      require(thresholds[i] >= thresholds[i - node.channels], n, "has levels that descend");
    if (node.positions) {
      require(!layer.image_inputs.empty(), n,
              "has thresholds for positions, but does not read the image");
      const auto ends = std::minmax_element(thresholds, thresholds + count);
      require(*ends.first > max_current - INT32_MAX && *ends.second < INT32_MAX - max_current, n,
              "its current less a threshold could leave 32 bits");
      set_position_thresholds(layer, thresholds);
    } else {
      set_thresholds(layer, thresholds);
    }
    Value value;
    value.shape = layer.shape;
    value.max_value = node.levels;
    plan_.values.push_back(value);
    add_layer(std::move(layer));
  }

  void add_readout() {
    const int32_t n = graph_.nodes;
    const Value &from = source(graph_.readout, n);
    require(from.form != Form::kImage, n, "the readout reads the image");
    require(graph_.classes >= 1 && graph_.classes <= kMaxSide, n, "no classes or more than 65535");
    const snn_projection whole = {graph_.readout,
                                  static_cast<int32_t>(from.shape.height),
                                  static_cast<int32_t>(from.shape.width),
                                  1,
                                  1,
                                  0,
                                  0,
                                  1,
                                  graph_.readout_weight};
    Layer layer;
    check_projections(layer, &whole, &whole + 1, graph_.classes, n);
    list_events(layer);
    pack(plan_, graph_, layer, n);
    plan_.classes = graph_.classes;
    plan_.scale.assign(graph_.scale, graph_.scale + graph_.classes);
    plan_.bias.assign(graph_.bias, graph_.bias + graph_.classes);
    add_layer(std::move(layer));
  }

  // Checks the projections and splits them into those of the image, which are dense, and of spikes.
  // Returns a bound on the magnitude of currents.
  int64_t check_projections(Layer &layer, const snn_projection *first, const snn_projection *last,
                            int64_t channels, int32_t n) {
    int64_t pixels = 0, events = 0;  // of the image and of spikes, that reach a neuron at most
    for (const snn_projection *p = first; p < last; p++) {
      const Value &from = source(p->source, n);
      const Geometry g = {p->source,    p->kernel_height, p->kernel_width, p->stride_y, p->stride_x,
                          p->padding_y, p->padding_x,     p->groups,       p->weight};
      for (int64_t side : {g.kernel_height, g.kernel_width, g.stride_y, g.stride_x, g.groups}) {
        require(side >= 1 && side <= kMaxSide, n,
                "a kernel (one that reads all: its source), stride or number of groups is not 1 to "
                "65535");
      }
      require(g.padding_y >= 0 && g.padding_y < g.kernel_height && g.padding_x >= 0 &&
                  g.padding_x < g.kernel_width,
              n, "its padding is not smaller than its kernel");
      require(channels % g.groups == 0 && from.shape.channels % g.groups == 0, n,
              "its groups do not fit");
      const int64_t height = from.shape.height + 2 * g.padding_y - g.kernel_height;
      const int64_t width = from.shape.width + 2 * g.padding_x - g.kernel_width;
      require(height >= 0 && width >= 0, n, "its kernel does not fit its source");
      const Shape out = checked_shape(channels, height / g.stride_y + 1, width / g.stride_x + 1, n);
      require(p == first || (out.height == layer.shape.height && out.width == layer.shape.width), n,
              "its projections have different shapes");
      layer.shape = out;
      const int64_t taps = checked_product(g.kernel_height, g.kernel_width, n);
      const int64_t fan_in = checked_product(taps, from.shape.channels / g.groups, n);
      const int64_t weights = checked_product(fan_in, channels, n);
      require(p->weight >= 0 && p->weight <= graph_.weight_count - weights, n,
              "its weights are not there");
      const bool image = from.form == Form::kImage;
      (image ? pixels : events) += image ? fan_in : checked_product(fan_in, from.max_value, n);
      require(pixels <= kMaxNumbers, n, "holds more than this engine takes");
      require(events <= kMaxEvents, n, "more than 2^24 spikes could reach a neuron");
      (image ? layer.image_inputs : layer.spike_inputs).push_back(g);
      if (image) {
        plan_.margin_y = std::max(plan_.margin_y, g.padding_y);
        plan_.margin_x = std::max(plan_.margin_x, g.padding_x);
        checked_product(from.shape.height + 2 * plan_.margin_y, plan_.padded_row_bytes(), n);
      }
    }
    return checked_current(layer, channels, 128 * (255 * pixels + events), n);
  }

  // Returns a bound on the magnitude of currents. `rough` is what the largest weights could make of
  // them; only where that is much are the weights looked at.
  int64_t checked_current(const Layer &layer, int64_t channels, int64_t rough, int32_t n) const {
    const int64_t most =
        rough <= kMaxNumbers ? rough : largest_current(plan_, graph_, layer, channels);
    require(most < INT32_MAX, n, "its current could leave 32 bits");
    return most;
  }

  // Takes the first projection that can be one, if rows of other projections are left.
  void take_shortcut(Layer &layer) const {
    std::vector<Geometry> &inputs = layer.spike_inputs;
    const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const Geometry &g) {
      const Value &from = plan_.values[g.value];
      return std::max({g.kernel_height, g.kernel_width, g.stride_y, g.stride_x}) == 1 &&
             g.groups == layer.shape.channels && g.groups == from.shape.channels &&
             from.form == Form::kBits && from.shape.levels == 1;
    });
    if (found == inputs.end() || inputs.size() == 1) return;
    layer.shortcut.value = found->value;
    layer.shortcut.weights = graph_.weights + found->weight;
    inputs.erase(found);
  }

  void list_events(Layer &layer) {
    for (const Geometry &g : layer.spike_inputs) {
      Value &from = plan_.values[g.value];
      from.needs_events = true;
      layer.grouped |= g.groups > 1;
      layer.max_pixel_events += std::min(g.kernel_height, from.shape.height) *
                                std::min(g.kernel_width, from.shape.width) * from.shape.channels *
                                from.max_value;
    }
  }

  void add_layer(Layer layer) {
    const int64_t most = layer.far ? kFarBlockPixels : kBlockPixels;
    const int64_t fitting = std::min(kMaxBlockRows / std::max<int64_t>(layer.max_pixel_events, 1),
                                     kMaxBlockPatchBytes / std::max<int64_t>(layer.patch_bytes, 1));
    layer.block_pixels = std::clamp<int64_t>(fitting, 1, std::min(most, layer.shape.pixels()));
    plan_.max_events = std::max(plan_.max_events, layer.block_pixels * layer.max_pixel_events);
    plan_.max_pixels = std::max(plan_.max_pixels, layer.block_pixels);
    plan_.max_currents = std::max(plan_.max_currents, layer.block_pixels * layer.tiles[0].width);
    plan_.max_patch_bytes = std::max(plan_.max_patch_bytes, layer.block_pixels * layer.patch_bytes);
    if (layer.rolls) {
      const int64_t whole = layer.may_scatter ? layer.shape.pixels() : 0;
      const int64_t pixels = std::max(layer.rolled_pixels(), whole);
      plan_.max_currents = std::max(plan_.max_currents, pixels * layer.tiles[0].width);
    }
    int64_t lines = 0;
    for (const Geometry &g : layer.spike_inputs)
      lines += std::min(g.kernel_height, plan_.values[g.value].shape.height);
    plan_.max_lines = std::max(plan_.max_lines, lines);
    const int64_t projections = static_cast<int64_t>(layer.spike_inputs.size());
    plan_.max_projections = std::max(plan_.max_projections, projections);
    layer.neuron_offset = neurons_;
    if (layer.value >= 0) plan_counts(layer);
    neurons_ += layer.shape.channels * layer.shape.pixels();
    plan_.phases.push_back({Step::kLayer, static_cast<int32_t>(plan_.layers.size()), 0, 0});
    plan_.layers.push_back(std::move(layer));
  }

  void plan_counts(Layer &layer) {
    const int64_t lanes = plan_.kernels->vector_bytes / 8;
    const int64_t vectors = (layer.shape.level_words() + lanes - 1) / lanes;
    for (int64_t most = layer.shape.pixels() * layer.shape.levels; most >> layer.digits;)
      layer.digits++;
    layer.plane_offset = plan_.plane_words;
    plan_.plane_words += vectors * lanes * layer.digits;
    plan_.channels += layer.shape.channels;
  }

  const snn_graph &graph_;
  Plan plan_;
  int32_t next_projection_ = 0;
  int64_t neurons_ = 0;
};

}  // namespace

Plan make_plan(const snn_graph &graph, const Kernels &kernels, int32_t threads) {
  return Planner(graph, kernels, threads).build();
}

}  // namespace snn
