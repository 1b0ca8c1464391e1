// The order of work, and how threads share it.
#ifndef SNN_EVENT_SCHEDULE_H
#define SNN_EVENT_SCHEDULE_H

#include "plan.h"

namespace snn {

// Completes a plan that has all its values and layers, and a phase without units for each node that
// computes.
void schedule(Plan &plan);

}  // namespace snn
#endif
