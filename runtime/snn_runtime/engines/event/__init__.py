"""The spike-driven engine: its C++ sources, and how Python reaches the library made of them.

`engine.h` is the border. `library` is that header in ctypes, `lowering` turns a SpikingGraph into
its structures, `snn_runtime.engines.event.backend` runs it.
"""
