"""The command `snn-infer`: pictures in, labels out.

cli         the flags
sources     which pictures the command line means
listed      names of pictures, from a list
results     a file of answers that is continued
labelling   prepares and labels them, in threads
printers    the answers, for people and for programs
progress    how far the work is
"""

PROGRAM = "snn-infer"
TOP_K = 3
"""Labels for each picture, where nobody says."""
