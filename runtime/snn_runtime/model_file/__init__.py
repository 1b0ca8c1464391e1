"""model.onnx: a SpikingGraph in one portable file, and the gate every such file passes.

file             reads and writes it, with its metadata
gate, wire       what a file must be before a network is looked for in it
writer, reader   a SpikingGraph to ONNX, and back
dense            what a dense INT8 file says of itself
"""

from snn_runtime.model_file.file import ModelFile, golden_of, read, read_file, to_bytes, write

__all__ = ["ModelFile", "golden_of", "read", "read_file", "to_bytes", "write"]
