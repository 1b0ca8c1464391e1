// Refusals: one sentence that names the node.
#ifndef SNN_EVENT_CHECK_H
#define SNN_EVENT_CHECK_H

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "plan.h"

namespace snn {

constexpr int64_t kMaxSide = 65535;                // a side, a kernel, a stride, channels
constexpr int64_t kMaxNumbers = int64_t{1} << 30;  // of a value, of weights, under a window
constexpr int64_t kMaxEvents = int64_t{1} << 24;   // that may reach one neuron

[[noreturn]] inline void refuse(const std::string &sentence) { throw std::runtime_error(sentence); }

inline void require(bool condition, int32_t node, const char *problem) {
  if (!condition) refuse("node " + std::to_string(node) + ": " + problem);
}

inline int64_t checked_product(int64_t a, int64_t b, int32_t node) {
  require(b == 0 || a <= kMaxNumbers / std::max<int64_t>(b, 1), node,
          "holds more than this engine takes");
  return a * b;
}

inline Shape checked_shape(int64_t channels, int64_t height, int64_t width, int32_t node) {
  require(channels >= 1 && channels <= kMaxSide, node, "has no channels or more than 65535");
  require(height >= 1 && width >= 1, node, "has no pixels");
  checked_product(checked_product(channels, height, node), width, node);
  return {channels, height, width};
}

}  // namespace snn
#endif
