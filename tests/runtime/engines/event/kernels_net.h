// Small graphs with random weights for kernels_test, and the memory that kernels work in.
#ifndef SNN_EVENT_KERNELS_NET_H
#define SNN_EVENT_KERNELS_NET_H

#include <vector>

#include "expect.h"
#include "kernels.h"
#include "pack.h"
#include "plan.h"
#include "tuning.h"

namespace snn {

// A square convolution of one source.
struct Input {
  int32_t source, kernel, stride, padding, groups;
};

class Net {
 public:
  Net(int32_t height, int32_t width, Random &random)
      : random_(random), shapes_{{3, height, width}} {
    for (int32_t &offset : graph_.offset) offset = static_cast<int32_t>(random.between(0, 255));
    graph_.height = height;
    graph_.width = width;
  }

  // All weights are `weight` if that is an extreme of 4 or 8 bits, else at most `weight` in
  // magnitude.
  int32_t population(int32_t channels, const std::vector<Input> &inputs, int64_t weight) {
    snn_node node = {};
    node.kind = SNN_POPULATION;
    node.channels = channels;
    node.projections = static_cast<int32_t>(inputs.size());
    node.levels = 1;
    Shape shape;
    for (const Input &input : inputs) shape = project(input, channels, weight);
    node.threshold = static_cast<int64_t>(thresholds_.size());
    thresholds_.resize(thresholds_.size() + static_cast<size_t>(channels));
    nodes_.push_back(node);
    shapes_.push_back(shape);
    return static_cast<int32_t>(nodes_.size());
  }

  int32_t pool(int32_t source, int32_t kernel, bool maximum) {
    snn_node node = {};
    node.kind = maximum ? SNN_MAX_POOL : SNN_SUM_POOL;
    node.source[0] = source;
    node.kernel = kernel;
    const Shape &from = shapes_[static_cast<size_t>(source)];
    shapes_.push_back({from.channels, from.height / kernel, from.width / kernel});
    nodes_.push_back(node);
    return static_cast<int32_t>(nodes_.size());
  }

  // ADD, AND or IAND.
  int32_t join(snn_kind kind, int32_t x, int32_t y) {
    snn_node node = {};
    node.kind = kind;
    node.source[0] = x;
    node.source[1] = y;
    shapes_.push_back(shapes_[static_cast<size_t>(x)]);
    nodes_.push_back(node);
    return static_cast<int32_t>(nodes_.size());
  }

  // Adds a readout of the first node.
  Plan plan(const Kernels &kernels, int32_t classes = 2, int64_t weight = 7) {
    const Shape from = shapes_[1];
    readout_weight_ = static_cast<int64_t>(weights_.size());
    draw(classes * from.channels * from.pixels(), weight);
    for (int32_t i = 0; i < classes; i++) {
      scale_.push_back(static_cast<float>(random_.between(1, 1 << 24)) / (1 << 20));
      bias_.push_back(static_cast<float>(random_.between(-(1 << 24), 1 << 24)) / (1 << 10));
    }
    graph_.nodes = static_cast<int32_t>(nodes_.size());
    graph_.projections = static_cast<int32_t>(projections_.size());
    graph_.readout = 1;
    graph_.classes = classes;
    graph_.readout_weight = readout_weight_;
    graph_.weight_count = static_cast<int64_t>(weights_.size());
    graph_.threshold_count = static_cast<int64_t>(thresholds_.size());
    graph_.node = nodes_.data();
    graph_.projection = projections_.data();
    graph_.weights = weights_.data();
    graph_.thresholds = thresholds_.data();
    graph_.scale = scale_.data();
    graph_.bias = bias_.data();
    return make_plan(graph_, kernels, 1);
  }

  // Of a projection: from input `i` of the output's group.
  int64_t weight(const Geometry &g, int64_t output, int64_t i, int64_t tap) const {
    const int64_t taps = g.kernel_height * g.kernel_width;
    const int64_t inputs = shapes_[static_cast<size_t>(g.value)].channels / g.groups;
    return weights_[static_cast<size_t>(g.weight + (output * inputs + i) * taps + tap)];
  }

  bool per_position = false;

 private:
  Shape project(const Input &input, int32_t channels, int64_t weight) {
    const Shape &from = shapes_[static_cast<size_t>(input.source)];
    projections_.push_back({input.source, input.kernel, input.kernel, input.stride, input.stride,
                            input.padding, input.padding, input.groups,
                            static_cast<int64_t>(weights_.size())});
    draw(channels * (from.channels / input.groups) * input.kernel * input.kernel, weight);
    const int64_t rest = 2 * input.padding - input.kernel;
    return {channels, (from.height + rest) / input.stride + 1,
            (from.width + rest) / input.stride + 1};
  }

  void draw(int64_t count, int64_t weight) {
    const bool fixed = weight == 7 || weight == 127 || weight < 0;
    for (int64_t i = 0; i < count; i++) {
      weights_.push_back(static_cast<int8_t>(fixed ? weight : random_.between(-weight, weight)));
    }
  }

  Random &random_;
  snn_graph graph_ = {};
  std::vector<Shape> shapes_;  // [0] the image
  std::vector<snn_node> nodes_;
  std::vector<snn_projection> projections_;
  std::vector<int8_t> weights_;
  std::vector<int32_t> thresholds_;
  std::vector<float> scale_, bias_;
  int64_t readout_weight_ = 0;
};

// A workspace in which no two values share memory.
struct Space : Workspace {
  explicit Space(const Plan &plan) {
    padded_image = Array<uint8_t>(static_cast<size_t>(
        (plan.values[0].shape.height + 2 * plan.margin_y) * plan.padded_row_bytes()));
    const int64_t size =
        (plan.values[0].shape.height + 2 * plan.margin_y) * plan.padded_row_bytes();
    for (int64_t i = 0; i < size; i++) {
      padded_image.get()[i] = static_cast<uint8_t>(plan.offset[i % 3]);
    }
    for (const Value &value : plan.values) {
      const Shape &shape = value.shape;
      masks_.emplace_back(static_cast<size_t>(shape.pixels() * shape.words()));
      counts_.emplace_back(static_cast<size_t>(shape.pixels() * shape.channels));
      events_.emplace_back(
          static_cast<size_t>(shape.height * (value.max_row_events + kListPadding)));
      begins_.emplace_back(static_cast<size_t>(shape.height * (shape.width + 1)));
      buffers.push_back(
          {masks_.back().get(), counts_.back().get(), events_.back().get(), begins_.back().get()});
    }
  }

  // Puts an image into its margin.
  void show(const Plan &plan, const std::vector<uint8_t> &image) const {
    const int64_t line = plan.values[0].shape.width * 3;
    for (int64_t i = 0; i < static_cast<int64_t>(image.size()); i++) {
      const int64_t row = (i / line + plan.margin_y) * plan.padded_row_bytes();
      padded_image.get()[row + plan.margin_x * 3 + i % line] = image[static_cast<size_t>(i)];
    }
  }

 private:
  std::vector<Array<uint64_t>> masks_;
  std::vector<Array<int32_t>> counts_;
  std::vector<Array<uint32_t>> events_, begins_;
};

// Scratch memory for a plan, and for lists of `rows` at least.
inline Scratch make_scratch(const Plan &plan, int64_t rows = 0) {
  Scratch scratch;
  scratch.lines = Array<Line>(static_cast<size_t>(plan.max_lines));
  scratch.line_begins = Array<Line *>(static_cast<size_t>(plan.max_projections + 1));
  scratch.rows =
      Array<uint32_t>(static_cast<size_t>(std::max(plan.max_events, rows) + 2 * kListPadding));
  scratch.begins = Array<int64_t>(static_cast<size_t>(plan.max_pixels + 1));
  scratch.currents = Array<int32_t>(static_cast<size_t>(plan.max_currents));
  scratch.patches = Array<uint8_t>(static_cast<size_t>(plan.max_patch_bytes));
  return scratch;
}

}  // namespace snn
#endif
