"""The event engine: its C++ sources, and the backend that runs the library compiled from them.

`engine.h` is the C interface. `library` is that header in ctypes, `lowering` turns a SpikingGraph
into its structures, `backend` runs it. `docs/explanation/event-engine.md` draws how it works.
"""
