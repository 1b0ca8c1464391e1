#include "bounds.h"

#include <algorithm>

#include "tuning.h"

namespace snn {
namespace {

// Weights to one output channel.
int64_t fan_in(const Plan &plan, const Geometry &g) {
  return g.kernel_height * g.kernel_width * (plan.values[g.value].shape.channels / g.groups);
}

// histogram[byte] += times for each weight.
void add_to_histogram(const int8_t *weights, int64_t size, int64_t times,
                      int64_t (&histogram)[256]) {
  if (size < kHistogramsMin) {
    for (int64_t k = 0; k < size; k++) histogram[static_cast<uint8_t>(weights[k])] += times;
    return;
  }
  int64_t tables[kHistograms][256] = {};
  int64_t k = 0;
  for (; k + kHistograms <= size; k += kHistograms) {
    for (int64_t t = 0; t < kHistograms; t++) tables[t][static_cast<uint8_t>(weights[k + t])]++;
  }
  for (; k < size; k++) tables[0][static_cast<uint8_t>(weights[k])]++;
  for (const auto &table : tables) {
    for (int64_t byte = 0; byte < 256; byte++) histogram[byte] += table[byte] * times;
  }
}

int64_t sum_of_magnitudes(const int8_t *weights, int64_t count) {
  constexpr int64_t kChunk = 1 << 16;  // sums fit 32 bits
  int64_t sum = 0;
  for (int64_t k = 0; k < count; k += kChunk) {
    int32_t part = 0;
    for (int64_t i = k; i < std::min(count, k + kChunk); i++)
      part += weights[i] < 0 ? -weights[i] : weights[i];
    sum += part;
  }
  return sum;
}

bool fit_four_bits(const int8_t *weights, int64_t count) {
  constexpr int64_t kChunk = 4096;
  for (int64_t k = 0; k < count; k += kChunk) {
    uint8_t beyond = 0;
    for (int64_t i = k; i < std::min(count, k + kChunk); i++)
      beyond |= static_cast<uint8_t>(weights[i] + 8) & 0xf0;
    if (beyond) return false;
  }
  return true;
}

// Largest n such that the n largest weights of either sign sum to `budget` at most.
int64_t largest_count(const int64_t (&histogram)[256], int64_t budget) {
  int64_t least = INT32_MAX;
  for (int sign : {1, -1}) {
    int64_t events = 0, rest = budget, left = 0;
    for (int magnitude = 128; magnitude > 0 && !left; magnitude--) {
      const int64_t all =
          sign * magnitude == 128 ? 0 : histogram[static_cast<uint8_t>(sign * magnitude)];
      if (!all) continue;
      const int64_t some = std::min(all, rest / magnitude);
      events += some;
      rest -= some * magnitude;
      left = all - some;
    }
    if (left) least = std::min(least, events);
  }
  return least;
}

}  // namespace

int64_t largest_current(const Plan &plan, const snn_graph &graph, const Layer &layer,
                        int64_t channels) {
  int64_t largest = 0;
  for (int64_t o = 0; o < channels; o++) {
    int64_t own = 0;
    for (const std::vector<Geometry> *inputs : {&layer.spike_inputs, &layer.image_inputs}) {
      for (const Geometry &g : *inputs) {
        const int64_t size = fan_in(plan, g);
        own += sum_of_magnitudes(graph.weights + g.weight + o * size, size) *
               plan.values[g.value].max_value;
      }
    }
    largest = std::max(largest, own);
  }
  return largest;
}

int64_t event_limit(const Plan &plan, const snn_graph &graph, const Layer &layer, int64_t o) {
  int64_t histogram[256] = {};  // [byte] weights, by the byte that holds them
  int64_t magnitudes = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (const Geometry &g : layer.spike_inputs) {
      const int64_t size = fan_in(plan, g), times = plan.values[g.value].max_value;
      const int8_t *weights = graph.weights + g.weight + o * size;
      if (pass == 0) {
        magnitudes += times * sum_of_magnitudes(weights, size);
      } else {
        add_to_histogram(weights, size, times, histogram);
      }
    }
    if (magnitudes <= INT16_MAX) return INT32_MAX;  // usual in small layers: no histogram needed
  }
  return largest_count(histogram, INT16_MAX);
}

int64_t cell_limit(const Plan &plan, const snn_graph &graph, const Geometry &g, int64_t o) {
  const Value &from = plan.values[g.value];
  const int8_t *const weights = graph.weights + g.weight + o * fan_in(plan, g);
  int64_t least = INT32_MAX;
  for (int64_t ky = 0; ky < g.kernel_height; ky++) {
    const auto row = [&](int64_t c) {
      return weights + (c * g.kernel_height + ky) * g.kernel_width;
    };
    int64_t magnitudes = 0;
    for (int64_t c = 0; c < from.shape.channels; c++)
      magnitudes += from.max_value * sum_of_magnitudes(row(c), g.kernel_width);
    if (magnitudes <= INT8_MAX) continue;  // all may come: no histogram needed
    int64_t histogram[256] = {};
    for (int64_t c = 0; c < from.shape.channels; c++)
      add_to_histogram(row(c), g.kernel_width, from.max_value, histogram);
    least = std::min(least, largest_count(histogram, INT8_MAX));
  }
  return least;
}

bool fit_four_bits(const Plan &plan, const snn_graph &graph, const Layer &layer) {
  return std::all_of(layer.spike_inputs.begin(), layer.spike_inputs.end(), [&](const Geometry &g) {
    return fit_four_bits(graph.weights + g.weight, layer.shape.channels * fan_in(plan, g));
  });
}

}  // namespace snn
