// Graphs that nobody checked: every integer of a sound one may have become any other.
#ifndef SNN_EVENT_MUTATION_H
#define SNN_EVENT_MUTATION_H

#include <algorithm>
#include <cmath>
#include <random>

#include "event_case.h"

class Mutation {
 public:
  explicit Mutation(uint64_t seed) : random_(seed) {}

  Case applied(const Case &sound) {
    Case other = sound.copy();
    for (int64_t edits = 1 + below(3); edits > 0; edits--) edit(other);
    truncate(other);
    return other;
  }

 private:
  int64_t below(int64_t limit) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(limit));
  }

  template <typename T>
  T changed(T field) {
    const uint64_t old =
        static_cast<uint64_t>(int64_t{field});  // unsigned, for it may be at either end
    const uint64_t values[] = {
        0,       1,       ~uint64_t{0}, 2,       3,         7,
        63,      64,      65,           255,     256,       4096,
        65535,   65536,   1 << 20,      1 << 27, INT32_MAX, uint64_t{1} << 31,
        old + 1, old - 1, old * 2,      ~old,    old / 2};
    if (below(4) == 0) return static_cast<T>(random_());
    if (sizeof(T) == 8 && below(4) == 0)
      return static_cast<T>(below(2) ? INT64_MAX - below(9) : INT64_MIN + below(9));
    return static_cast<T>(values[below(sizeof values / sizeof *values)]);
  }

  void edit(Case &c) {
    snn_graph &g = c.graph;
    const int64_t what = below(10);
    if (what < 4 && c.projections.count) return edit(c.projections[below(c.projections.count)]);
    if (what < 8 && c.nodes.count) return edit(c.nodes[below(c.nodes.count)]);
    int32_t *fields[] = {&g.height, &g.width,   &g.offset[0],   &g.offset[1], &g.offset[2],
                         &g.nodes,  &g.readout, &g.projections, &g.classes};
    int64_t *more[] = {&g.readout_weight, &g.weight_count, &g.threshold_count};
    constexpr int64_t kShort = sizeof fields / sizeof *fields;
    const int64_t field = below(kShort + sizeof more / sizeof *more);
    if (field < kShort)
      *fields[field] = changed(*fields[field]);
    else
      *more[field - kShort] = changed(*more[field - kShort]);
  }

  void edit(snn_projection &p) {
    int32_t *fields[] = {&p.source,   &p.kernel_height, &p.kernel_width, &p.stride_y,
                         &p.stride_x, &p.padding_y,     &p.padding_x,    &p.groups};
    const int64_t field = below(9);
    if (field < 8)
      *fields[field] = changed(*fields[field]);
    else
      p.weight = changed(p.weight);
  }

  void edit(snn_node &n) {
    int32_t *fields[] = {&n.kind,      &n.channels, &n.projections, &n.source[0],
                         &n.source[1], &n.kernel,   &n.positions,   &n.levels};
    const int64_t field = below(9);
    if (field < 8)
      *fields[field] = changed(*fields[field]);
    else
      n.threshold = changed(n.threshold);
  }

  // The pointers hold what the counts say: a count may fall, and then so does its array, but not
  // rise.
  static void truncate(Case &c) {
    snn_graph &g = c.graph;
    g.nodes = static_cast<int32_t>(std::min<int64_t>(g.nodes, c.nodes.count));
    g.projections = static_cast<int32_t>(std::min<int64_t>(g.projections, c.projections.count));
    g.weight_count = std::min(g.weight_count, c.weights.count);
    g.threshold_count = std::min(g.threshold_count, c.thresholds.count);
    c.nodes = c.nodes.resized(std::max(g.nodes, 0));
    c.projections = c.projections.resized(std::max(g.projections, 0));
    c.weights = c.weights.resized(std::max<int64_t>(g.weight_count, 0));
    c.thresholds = c.thresholds.resized(std::max<int64_t>(g.threshold_count, 0));
    // Classes beyond that have no weights, so nobody asks for their scale.
    c.scale = c.scale.resized(std::clamp(g.classes, 0, 1 << 20));
    c.bias = c.bias.resized(std::clamp(g.classes, 0, 1 << 20));
  }

  std::mt19937_64 random_;
};

// What an accepted graph costs, worked out a second time.
struct Cost {
  double neurons = 0, work = 0;

  explicit Cost(const snn_graph &g) {
    struct Shape {
      double channels, height, width, largest;
    };
    std::vector<Shape> shapes = {{3, 1. * g.height, 1. * g.width, 1}};
    const snn_projection *next = g.projection;
    for (int32_t n = 0; n < g.nodes; n++) {
      const snn_node &node = g.node[n];
      Shape out = shapes[node.kind == SNN_POPULATION ? 0 : static_cast<size_t>(node.source[0])];
      if (node.kind >= SNN_ADD) {
        if (node.kind == SNN_ADD)
          out.largest += shapes[static_cast<size_t>(node.source[1])].largest;
        work += out.channels * out.height * out.width * 2;
      } else if (node.kind != SNN_POPULATION) {
        out.height = std::floor(out.height / node.kernel),
        out.width = std::floor(out.width / node.kernel);
        if (node.kind == SNN_SUM_POOL)
          out.largest *= static_cast<double>(node.kernel) * node.kernel;
        work += out.channels * out.height * out.width * node.kernel * node.kernel;
      }
      for (int32_t p = 0; node.kind == SNN_POPULATION && p < node.projections; p++, next++) {
        const Shape from = shapes[static_cast<size_t>(next->source)];
        out.height = std::floor((from.height + 2. * next->padding_y - next->kernel_height) /
                                next->stride_y) +
                     1;
        out.width =
            std::floor((from.width + 2. * next->padding_x - next->kernel_width) / next->stride_x) +
            1;
        out.channels = node.channels, out.largest = node.levels;
        work += out.channels * out.height * out.width * next->kernel_height * next->kernel_width *
                from.channels * from.largest;
      }
      if (node.kind == SNN_POPULATION) neurons += out.channels * out.height * out.width;
      shapes.push_back(out);
    }
    const Shape last = shapes[static_cast<size_t>(g.readout)];
    work += g.classes * last.channels * last.height * last.width * last.largest +
            3. * g.height * g.width;
  }
};

#endif
