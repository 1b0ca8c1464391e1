// Where the values of one image lie in memory while it runs through the network.
#ifndef SNN_EVENT_LAYOUT_H
#define SNN_EVENT_LAYOUT_H

#include "plan.h"

namespace snn {

// Sets value_offsets and value_bytes of a plan whose phases are scheduled. Values that are never
// needed in the same phase share memory.
void assign_offsets(Plan &plan);

}  // namespace snn
#endif
