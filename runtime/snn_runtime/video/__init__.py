"""Films and cameras, which OpenCV reads in a process of its own.

names     which inputs are films, and which are cameras
wanted    what that process is asked for
reader    the process
reading   starts it, takes its frames, ends it
newest    the newest picture of a camera: latest keeps it, http is a camera on the network
"""
