"""Any picture to the image that a network takes: what training, verification and serving share.

prepare      whatever somebody has, to the size of the network
picture      any file, decoded: signature, container, colour, orientation
jpeg         its decoder; markers: where its parts are
folder       what is in a folder
series       many JPEGs in a stream; siblings: what belongs to one; intake: a pipe
behind       whether another picture follows
scenes       random images, to time engines with
"""

from snn_runtime.fit import Fit
from snn_runtime.image.intake import Waiting
from snn_runtime.image.picture import DEFAULT_LIMITS, Decoded, Limits, decode
from snn_runtime.image.prepare import (
    Colour,
    Picture,
    Pixels,
    Prepared,
    Region,
    fit_to,
    prepare,
    read_file,
    read_stream,
)

__all__ = [
    "DEFAULT_LIMITS",
    "Colour",
    "Decoded",
    "Fit",
    "Limits",
    "Picture",
    "Pixels",
    "Prepared",
    "Region",
    "Waiting",
    "decode",
    "fit_to",
    "prepare",
    "read_file",
    "read_stream",
]
