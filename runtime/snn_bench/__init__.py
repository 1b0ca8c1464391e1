"""`snn-bench`: how fast each engine is here, and how dense networks fare beside it.

cli ─► experiment ─► worker (a child process a thread count, pinned) ─► contenders, timing
          │             ├─ dense_engines, litert   ONNX Runtime, OpenVINO, LiteRT on dense networks
          │             └─ hardware                the limits of this core
          │
          ├─ topology, scenes, rates     a synthetic network at the asked firing rates
          ├─ twin                        the same topology as a ReLU network, fp32 and INT8
          ├─ opponents                   files of --against, spiking or dense
          ├─ frontier                    accuracy against time, the ratio at equal accuracy
          ├─ energy                      operations, priced: an estimate
          ├─ joules, metering            what meters say, in the worker's turns
          ├─ limit                       the bytes that the spikes make necessary
          └─ results, tables, plot       what is printed
"""

import snn_runtime  # noqa: F401  # switches telemetry off before ONNX Runtime is imported
