"""Convolutions of spikes that do the work of the spikes there are, for training on processors.

library      compiles convolution.cpp for this machine, and its functions in ctypes
convolution  the operator: its gradients, and when it is dense after all
"""
