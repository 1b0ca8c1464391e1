"""The command `snn-infer`: pictures in, labels out.

cli         the flags
sources     which pictures the command line means
labelling   prepares and labels them, in threads
printers    the answers, for people and for programs
"""

PROGRAM = "snn-infer"
TOP_K = 3
"""Labels for each picture, where nobody says."""
