#include "bounds.h"

#include <algorithm>

namespace snn {
namespace {

// Weights to one output channel.
int64_t fan_in(const Plan &plan, const snn_projection &p) {
  return int64_t{p.kernel_height} * p.kernel_width * (plan.values[p.source].shape.channels / p.groups);
}

// Add `largest` to the place of each weight's byte. Equal neighbours would wait for each other in one table.
void count(const int8_t *weights, int64_t size, int64_t largest, int64_t (&often)[256]) {
  constexpr int64_t kTables = 4;
  int64_t tables[kTables][256] = {};
  int64_t k = 0;
  for (; k + kTables <= size; k += kTables) {
    for (int64_t t = 0; t < kTables; t++) tables[t][static_cast<uint8_t>(weights[k + t])]++;
  }
  for (; k < size; k++) tables[0][static_cast<uint8_t>(weights[k])]++;
  for (const auto &table : tables) {
    for (int64_t byte = 0; byte < 256; byte++) often[byte] += table[byte] * largest;
  }
}

int64_t sum_of_magnitudes(const int8_t *weights, int64_t count) {
  constexpr int64_t kSome = 1 << 16;  // whose sum fits 32 bits
  int64_t sum = 0;
  for (int64_t k = 0; k < count; k += kSome) {
    int32_t part = 0;
    for (int64_t i = k; i < std::min(count, k + kSome); i++) part += weights[i] < 0 ? -weights[i] : weights[i];
    sum += part;
  }
  return sum;
}

bool fit_four_bits(const int8_t *weights, int64_t count) {
  constexpr int64_t kSome = 4096;
  for (int64_t k = 0; k < count; k += kSome) {
    uint8_t beyond = 0;
    for (int64_t i = k; i < std::min(count, k + kSome); i++) beyond |= static_cast<uint8_t>(weights[i] + 8) & 0xf0;
    if (beyond) return false;
  }
  return true;
}

}  // namespace

int64_t event_limit(const Plan &plan, const snn_graph &graph, const Projections &projections, int64_t o) {
  int64_t often[256] = {};  // by the weight's byte
  int64_t magnitudes = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (const snn_projection *p : projections) {
      const Value &from = plan.values[p->source];
      if (from.form == Form::kImage) continue;
      const int64_t size = fan_in(plan, *p);
      const int8_t *weights = graph.weights + p->weight + o * size;
      if (pass == 0) {
        magnitudes += from.largest * sum_of_magnitudes(weights, size);
      } else {
        count(weights, size, from.largest, often);
      }
    }
    if (magnitudes <= INT16_MAX) return INT32_MAX;  // as mostly in small layers, where counting is spared
  }
  int64_t least = INT32_MAX;
  for (int sign : {1, -1}) {
    int64_t events = 0, room = INT16_MAX, left = 0;
    for (int magnitude = 128; magnitude > 0 && !left; magnitude--) {
      const int64_t all = sign * magnitude == 128 ? 0 : often[static_cast<uint8_t>(sign * magnitude)];
      const int64_t some = std::min(all, room / magnitude);
      events += some;
      room -= some * magnitude;
      left = all - some;
    }
    if (left) least = std::min(least, events);
  }
  return least;
}

bool fit_four_bits(const Plan &plan, const snn_graph &graph, const Projections &projections, int64_t channels) {
  return std::all_of(projections.begin(), projections.end(), [&](const snn_projection *p) {
    return plan.values[p->source].form == Form::kImage ||
           fit_four_bits(graph.weights + p->weight, channels * fan_in(plan, *p));
  });
}

}  // namespace snn
