"""The command `snn-infer` in this process, and its small model."""

from infer_command import model, snn_infer

__all__ = ["model", "snn_infer"]
