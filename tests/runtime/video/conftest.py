"""The command `snn-infer` in this process, its small model, and a browser."""

from browsing import browser, page
from infer_command import model, snn_infer

__all__ = ["browser", "model", "page", "snn_infer"]
