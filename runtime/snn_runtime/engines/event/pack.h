// Weights and thresholds laid out as the kernels read them.
#ifndef SNN_EVENT_PACK_H
#define SNN_EVENT_PACK_H

#include "plan.h"

namespace snn {

// Cuts the layer's channels into tiles and packs their weights. Shapes have been checked; `node` is
// for messages.
void pack(Plan &plan, const snn_graph &graph, Layer &layer, int32_t node);

// `thresholds` is [channel] of floor(θ).
void set_thresholds(Layer &layer, const int32_t *thresholds);

// `thresholds` is [channel][pixel] of floor(θ), of a packed layer that reads the image.
void set_position_thresholds(Layer &layer, const int32_t *thresholds);

}  // namespace snn
#endif
