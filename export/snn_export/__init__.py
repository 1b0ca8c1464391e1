"""Bring a trained network into one proven ONNX file.

import snn_export

exported = snn_export.export("runs/digits/t1.pt", "model.onnx")   # a checkpoint of train-snn
exported.proof.spikes, exported.facts["file_bytes"]

network = snn_export.import_network(                              # a module of snnTorch, a file
    module, labels=("cat", "dog"), image_size=(32, 32), mean=0.5, std=0.25
)
snn_export.export(network, "model.onnx")

The modules, as an export goes through them:

from       origin (what is asked of a network), trained (train-snn's), importing, importers
file       exporting (all of it), fold, pools, quantise with ties (integers), unrounded (float32),
           labels, target (what is not written over)
proof      verify (against the reference), parity with layerwise (against what was trained),
           recorded
worth      calibration, recalibrate (of a file that exists), provenance, report (facts), text
others     dense (the ANN in INT8), triton (a repository for its server)
command    cli, flags, formats
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snn_export.exporting import export
    from snn_export.importing import import_network
    from snn_export.report import Exported

__all__ = ["Exported", "export", "import_network"]


def __getattr__(name: str) -> object:
    # Lazy: the flags of export-snn must not wait for torch.
    if name == "export":
        from snn_export.exporting import export

        return export
    if name == "import_network":
        from snn_export.importing import import_network

        return import_network
    if name == "Exported":
        from snn_export.report import Exported

        return Exported
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
