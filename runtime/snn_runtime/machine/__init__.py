"""The machine that this process runs on.

cores, control_groups              threads that compute, and the limits that bound them
processor, gpu, jetson, packages   what is here; system: where such facts come from
describe                           what has to stand beside a figure
saturation                         whether sums of 8-bit products saturate here
wheels                             what to type where a backend for GPUs is missing
children, private                  child processes; folders that no other user writes to
"""
