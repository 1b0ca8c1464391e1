"""The command `snn-doctor`: what is here, which engines run on it, and which is the fastest.

system                              where facts come from: files under a root, commands
processor, software, gpu, jetson    one small function a fact
facts                               which facts there are; a reason for each that is unknown
checks, probe                       every engine in a child process that may crash or hang
report, private, cli                for people and programs, without names, and the command
"""
