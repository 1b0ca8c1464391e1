"""TensorRT: the graph in its arithmetic, engines built, kept, proven and run.

lowering, arithmetic, nodes   SpikingGraph to ONNX as TensorRT takes it: int8, fp16, fp32
library                       one face for TensorRT 8.6 to 11
build, builder                an engine made in a child process, and who waits for it
cache, entries                engines kept in a private directory and authenticated
device, engine                memory, streams and graphs of CUDA; an engine that runs
choice, proof                 which engine is right, and which of those is fastest
"""
