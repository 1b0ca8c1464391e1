#include "bounds.h"

#include <algorithm>

#include "tuning.h"

namespace snn {
namespace {

// Weights to one output channel.
int64_t fan_in(const Plan &plan, const snn_projection &p) {
  return int64_t{p.kernel_height} * p.kernel_width *
         (plan.values[p.source].shape.channels / p.groups);
}

// histogram[byte] += times for each weight.
void add_to_histogram(const int8_t *weights, int64_t size, int64_t times,
                      int64_t (&histogram)[256]) {
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

int64_t event_limit(const Plan &plan, const snn_graph &graph, const Projections &projections,
                    int64_t o) {
  int64_t histogram[256] = {};  // [byte] weights, by the byte that holds them
  int64_t magnitudes = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (const snn_projection *p : projections) {
      const Value &from = plan.values[p->source];
      if (from.form == Form::kImage) continue;
      const int64_t size = fan_in(plan, *p);
      const int8_t *weights = graph.weights + p->weight + o * size;
      if (pass == 0) {
        magnitudes += from.max_value * sum_of_magnitudes(weights, size);
      } else {
        add_to_histogram(weights, size, from.max_value, histogram);
      }
    }
    if (magnitudes <= INT16_MAX) return INT32_MAX;  // usual in small layers: no histogram needed
  }
  return largest_count(histogram, INT16_MAX);
}

int64_t cell_limit(const Plan &plan, const snn_graph &graph, const snn_projection &p, int64_t o) {
  const Value &from = plan.values[p.source];
  const int8_t *const weights = graph.weights + p.weight + o * fan_in(plan, p);
  int64_t least = INT32_MAX;
  for (int64_t ky = 0; ky < p.kernel_height; ky++) {
    int64_t histogram[256] = {};
    for (int64_t c = 0; c < from.shape.channels; c++) {
      const int8_t *const row = weights + (c * p.kernel_height + ky) * p.kernel_width;
      for (int64_t kx = 0; kx < p.kernel_width; kx++) {
        histogram[static_cast<uint8_t>(row[kx])] += from.max_value;
      }
    }
    least = std::min(least, largest_count(histogram, INT8_MAX));
  }
  return least;
}
bool fit_four_bits(const Plan &plan, const snn_graph &graph, const Projections &projections,
                   int64_t channels) {
  return std::all_of(projections.begin(), projections.end(), [&](const snn_projection *p) {
    return plan.values[p->source].form == Form::kImage ||
           fit_four_bits(graph.weights + p->weight, channels * fan_in(plan, *p));
  });
}

}  // namespace snn
