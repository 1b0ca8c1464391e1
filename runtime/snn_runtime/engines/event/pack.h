// Weights and thresholds laid out as the kernels read them.
#ifndef SNN_EVENT_PACK_H
#define SNN_EVENT_PACK_H

#include <vector>

#include "plan.h"

namespace snn {

using Projections = std::vector<const snn_projection *>;

inline Geometry geometry(const snn_projection &p) {
  return {p.source,   p.kernel_height, p.kernel_width, p.stride_y,
          p.stride_x, p.padding_y,     p.padding_x,    p.groups};
}

// Cuts the layer's channels into tiles and packs their weights. Shapes have been checked; `node` is
// for messages.
void pack(Plan &plan, const snn_graph &graph, Layer &layer, const Projections &projections,
          int32_t node);

// `thresholds` is [channel] of floor(θ).
void set_thresholds(Layer &layer, const int32_t *thresholds);

// `thresholds` is [channel][pixel] of floor(θ), of a packed layer that reads the image.
void set_position_thresholds(Layer &layer, const int32_t *thresholds);

}  // namespace snn
#endif
