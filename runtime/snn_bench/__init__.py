"""`snn-bench`: how fast each engine is here, and how dense networks fare beside it.

cli, flags ─► experiment ─► children ─► worker (a pinned process) ─► contenders, timing
    │                                    ├─ dense_engines, litert, litert_file   dense networks
    │                                    ├─ hardware, resident   limits of this core; memory
    │                                    └─ joules, metering     what meters say, in its turns
    ├─ workloads                   a model, or synthetic networks:
    │   topology, scenes, rates    layers, and thresholds for the asked firing rates
    │   propagation                the values of all nodes
    ├─ twin                        the same topology as a ReLU network, fp32 and INT8
    ├─ opponents                   files of --against, spiking or dense
    ├─ frontier                    accuracy against time, the ratio at equal accuracy
    ├─ energy, energy_tables       operations, priced: an estimate
    ├─ limit                       the bytes that the spikes make necessary
    └─ results, tables, columns, plot   what is printed
"""

import snn_runtime  # noqa: F401  # switches telemetry off before ONNX Runtime is imported
