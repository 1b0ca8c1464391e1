"""Any picture to the image that a network takes: what training, verification and serving share."""

from snn_runtime.image.intake import DEFAULT_LIMITS, Limits, Waiting, read_file, read_stream
from snn_runtime.image.picture import Decoded, decode
from snn_runtime.image.prepare import (
    Colour,
    Fit,
    Picture,
    Pixels,
    Prepared,
    Region,
    fit_to,
    prepare,
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
