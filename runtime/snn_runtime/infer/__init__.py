"""The command `snn-infer`: pictures in, labels out.

cli         the flags
sources     which pictures the command line means
listed      names of pictures, from a list
live        a camera's newest picture
films       the frames of a film
watching    pictures that arrive in a folder
results     a file of answers that is continued
labelling   prepares and labels them, in threads
printers    the answers, for people and for programs
records     the same for other engines, which share work among machines
buckets     the pictures of those engines
actions     what is done with pictures beside printing:
new_files   files of their own for pictures
moving      pictures into folders of their labels
running     a command for pictures of a label
posting     answers of a label to an address
annotating  pictures and films with their labels
drawing     a label on a picture
explaining  why a picture got its label: occlusion
sheet       the page that shows it
values      what flags may say
rules       where each of them has an effect
progress    how far the work is
"""

PROGRAM = "snn-infer"
TOP_K = 3
"""Labels for each picture, where nobody says."""
