"""ONNX Runtime: the graph in integers on the CPU, in float32 on a GPU.

backend       sessions on the CPU, in integers where the weights are
integer       SpikingGraph to quantised ONNX without requantisation
merge, nodes  what the lowering is written with
providers     which execution providers are here, and what they are called with
gpu           the CUDA and TensorRT providers
"""
