"""TensorRT on an NVIDIA GPU: engines built where they run, proven and cached.

backend                      the graph as an engine, `snn_runtime.engines.Backend`
choice, spec                 which engine serves, and everything that an engine depends on
lowering, int8, half         SpikingGraph to ONNX for TensorRT: int8, fp16, fp32
arithmetic                   why these arithmetics cannot change a spike
build, build_child           builds an engine in a child process
library                      one interface to TensorRT 8.6 to 11
device, engine               CUDA's memory, streams and graphs; an engine that runs
"""
