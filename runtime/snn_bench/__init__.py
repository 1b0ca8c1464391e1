"""`snn-bench`: how fast each engine is here, and how the network's dense twin fares beside it.

cli ─► experiment ─► worker (a child process a thread count, pinned) ─► contenders, timing
          │
          ├─ topology, scenes, rates     a synthetic network at the asked firing rates
          ├─ twin                        the same topology as a ReLU network, fp32 and INT8
          ├─ energy                      operations, priced: an estimate
          ├─ joules, metering            what meters say, in the worker's turns
          ├─ limit                       the bytes that the spikes make necessary
          └─ results, tables, plot       what is printed
"""

import snn_runtime  # noqa: F401  # switches telemetry off before ONNX Runtime is imported
