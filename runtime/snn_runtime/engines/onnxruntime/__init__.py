"""ONNX Runtime: the graph in integers on the CPU, in float32 on a GPU.

backend       sessions on the CPU, in integers where the weights are int8
integer       SpikingGraph to quantised ONNX without requantisation
operators     the integer operators of ONNX Runtime
merge         several projections as one convolution
providers     which execution providers are installed, and why not
gpu           the CUDA and TensorRT providers
"""
