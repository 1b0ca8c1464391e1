"""Any image file to uint8 pixels: what training, verification and serving all decode with."""

from snn_runtime.image.fit import Fit, Pixels, fit_to
from snn_runtime.image.intake import DEFAULT_LIMITS, Limits, Waiting, read_file, read_stream
from snn_runtime.image.picture import Picture, decode, load, to_array

__all__ = [
    "DEFAULT_LIMITS",
    "Fit",
    "Limits",
    "Picture",
    "Pixels",
    "Waiting",
    "decode",
    "fit_to",
    "load",
    "read_file",
    "read_stream",
    "to_array",
]
