// The order of work, and how it can be shared.
#ifndef SNN_EVENT_STAGES_H
#define SNN_EVENT_STAGES_H

#include "plan.h"

namespace snn {

// Completes a plan that has all its values and layers, and a stage without units for each node that computes.
void arrange(Plan &plan);

}  // namespace snn
#endif
