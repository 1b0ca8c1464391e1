"""Who judges what: an engine is right if its spikes are those of the reference.

golden      the fixed pictures, and the hash of the spikes that they must cause
agreement   spikes compared with the reference, float32 networks within the bound of rounding
self_test   both: the engine is right, or it is wrong, or the file's hash is
forms       an engine that shows no spikes: its logits must follow from those of one that does
"""
