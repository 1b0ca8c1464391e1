"""The command `snn-doctor`: what is here, which engines run on it, and which is the fastest.

software               one small function a fact, as in `machine`
facts                  which facts there are; a reason for each that is unknown
checks, probe          every engine in a child process that may crash or hang
report, private, cli   for people and programs, without names, and the command
"""
