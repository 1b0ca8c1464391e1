// Bounds on sums of weights.
#ifndef SNN_EVENT_BOUNDS_H
#define SNN_EVENT_BOUNDS_H

#include "pack.h"

namespace snn {

// Largest magnitude that a current of the layer can have, in any of its channels, and so any part of
// the sum on the way.
int64_t largest_current(const Plan &plan, const snn_graph &graph, const Layer &layer,
                        int64_t channels);

// Largest n such that any n events keep the 16-bit sum of output channel o from overflowing: the n
// largest weights of either sign do. A neuron that sends counts up to m may come m times.
int64_t event_limit(const Plan &plan, const snn_graph &graph, const Layer &layer, int64_t o);

// Largest n such that any n events under one kernel row keep the 8-bit sum of output channel o from
// overflowing.
int64_t cell_limit(const Plan &plan, const snn_graph &graph, const Geometry &g, int64_t o);

// Whether all weights in a layer's rows are -8 to 7.
bool fit_four_bits(const Plan &plan, const snn_graph &graph, const Layer &layer);

}  // namespace snn
#endif
