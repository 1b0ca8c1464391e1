// What weights can do at most.
#ifndef SNN_EVENT_BOUNDS_H
#define SNN_EVENT_BOUNDS_H

#include "pack.h"

namespace snn {

// How many events' weights to output channel o surely sum to what fits 16 bits: the largest on either side do. An
// event that counts several spikes of a sum pool comes as often as it counts.
int64_t event_limit(const Plan &plan, const snn_graph &graph, const Projections &projections, int64_t o);

// Whether all weights from spikes to `channels` are -8 to 7.
bool fit_four_bits(const Plan &plan, const snn_graph &graph, const Projections &projections, int64_t channels);

}  // namespace snn
#endif
