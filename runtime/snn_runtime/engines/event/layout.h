// Where values lie while one image runs through the network.
#ifndef SNN_EVENT_LAYOUT_H
#define SNN_EVENT_LAYOUT_H

#include "plan.h"

namespace snn {

// Completes a plan whose stages are arranged: values that are never needed in the same stage share memory.
void lay_out(Plan &plan);

}  // namespace snn
#endif
