"""model.onnx: a SpikingGraph in one portable file, and the gate every such file passes."""

from snn_runtime.model_file.file import ModelFile, read, read_file, to_bytes, write

__all__ = ["ModelFile", "read", "read_file", "to_bytes", "write"]
