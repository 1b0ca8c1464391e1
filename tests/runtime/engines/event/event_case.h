// A case: a graph as engine.h has it, images, and what the interpreter makes of them.
//
// The file is what event_cases.py writes: a header of counts, then each array's bytes.
#ifndef SNN_EVENT_CASE_H
#define SNN_EVENT_CASE_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"

[[noreturn]] inline void fail(const char *what, const char *more = "") {
  std::fprintf(stderr, "event_driver: %s%s\n", what, more);
  std::_Exit(1);
}

// An array of exactly its size, so that the address sanitizer sees the first byte too many.
template <typename T>
struct Exact {
  std::unique_ptr<T[]> data;
  int64_t count = 0;

  explicit Exact(int64_t n = 0) : data(new T[static_cast<size_t>(n)]()), count(n) {}
  T *get() const { return data.get(); }
  T &operator[](int64_t i) const { return data[static_cast<size_t>(i)]; }

  // The first of them, or zeros after the last.
  Exact resized(int64_t n) const {
    Exact result(n);
    for (int64_t i = 0; i < n && i < count; i++) result[i] = data[static_cast<size_t>(i)];
    return result;
  }
};

struct Case {
  snn_graph graph = {};
  Exact<snn_node> nodes;
  Exact<snn_projection> projections;
  Exact<int8_t> weights;
  Exact<int32_t> thresholds;
  Exact<float> scale, bias;
  int64_t images = 0, neurons = 0, channels = 0;  // of all populations for one image
  Exact<uint8_t> pixels, spikes;                  // these, and counts, as snn_event_run gives them
  Exact<int64_t> counts;
  Exact<float> logits;

  Case copy() const {
    Case other;
    other.graph = graph;
    other.nodes = nodes.resized(nodes.count);
    other.projections = projections.resized(projections.count);
    other.weights = weights.resized(weights.count);
    other.thresholds = thresholds.resized(thresholds.count);
    other.scale = scale.resized(scale.count);
    other.bias = bias.resized(bias.count);
    return other;
  }

  const snn_graph *point() {
    graph.node = nodes.get();
    graph.projection = projections.get();
    graph.weights = weights.get();
    graph.thresholds = thresholds.get();
    graph.scale = scale.get();
    graph.bias = bias.get();
    return &graph;
  }
};

class Reader {
 public:
  explicit Reader(const char *path) : file_(std::fopen(path, "rb")) {
    if (!file_) fail("cannot open ", path);
  }
  Reader(const Reader &) = delete;
  Reader &operator=(const Reader &) = delete;
  ~Reader() { std::fclose(file_); }

  template <typename T>
  Exact<T> array(int64_t count) {
    Exact<T> result(count);
    const size_t wanted = static_cast<size_t>(count);
    if (wanted && std::fread(result.get(), sizeof(T), wanted, file_) != wanted)
      fail("the case is cut short");
    return result;
  }

 private:
  std::FILE *file_;
};

inline Case read_case(const char *path) {
  Reader reader(path);
  Case result;
  result.graph = reader.array<snn_graph>(1)[0];
  const Exact<int64_t> sizes = reader.array<int64_t>(3);
  result.images = sizes[0];
  result.neurons = sizes[1];
  result.channels = sizes[2];
  const snn_graph &g = result.graph;
  result.nodes = reader.array<snn_node>(g.nodes);
  result.projections = reader.array<snn_projection>(g.projections);
  result.weights = reader.array<int8_t>(g.weight_count);
  result.thresholds = reader.array<int32_t>(g.threshold_count);
  result.scale = reader.array<float>(g.classes);
  result.bias = reader.array<float>(g.classes);
  result.pixels = reader.array<uint8_t>(result.images * g.height * g.width * 3);
  result.logits = reader.array<float>(result.images * g.classes);
  result.spikes = reader.array<uint8_t>(result.images * result.neurons);
  result.counts = reader.array<int64_t>(result.images * result.channels);
  return result;
}

// The instruction sets that this library offers here.
inline std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  std::string name;
  for (const char *at = snn_event_instruction_sets();; at++) {
    if (*at != ' ' && *at != 0) {
      name += *at;
      continue;
    }
    if (!name.empty()) names.push_back(name);
    name.clear();
    if (*at == 0) return names;
  }
}

#endif
