"""What export-snn says, as facts: one JSON object. `text` puts them on one screen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snn_export.calibration import Confidence
from snn_export.importers import Foreign
from snn_export.origin import Origin
from snn_export.parity import Parity
from snn_export.text import ELSEWHERE, text
from snn_export.verify import Accuracy, Proof, received
from snn_runtime.graph import Population, SpikingGraph

LARGEST_NAMES = 2**17
"""Characters of the former names of classes that a file keeps."""


@dataclass(frozen=True)
class Written:
    """What is said of a file that was written."""

    facts: dict[str, Any]
    """What `--format json` prints."""
    text: str
    """What is printed for people."""


@dataclass(frozen=True, eq=False, repr=False)
class Exported:
    """A file that was written, and what was shown for it before."""

    path: Path
    graph: SpikingGraph
    """What the file holds."""
    proof: Proof
    """Neurons that fire alike in the reference and in ONNX Runtime: all of them."""
    parity: Parity
    """How it compares with the network that was trained, layer by layer."""
    accuracy: Accuracy | None
    """On the test images, where data were given."""
    confidence: Confidence | None
    """What its probabilities are worth, likewise."""
    facts: dict[str, Any]
    """What `export-snn --format json` prints."""

    def text(self) -> str:
        """Return what `export-snn` prints for people."""
        return text(self.facts, str(self.path), self.graph)

    def __repr__(self) -> str:
        size, proven = self.facts["file_bytes"], self.proof.spikes
        return f"<Exported {self.path}: {size:,} bytes, {proven:,} neurons proven>"


def provenance(
    origin: Origin, graph: SpikingGraph, accuracy: Accuracy | None, confidence: Confidence | None
) -> dict[str, Any]:
    """What travels in the file: where the network comes from and what it reached."""
    facts = origin.provenance() | {"weight_bits": graph.weight_bits}
    if accuracy is not None:
        facts |= measured(accuracy.exported, accuracy.images, accuracy.rates)
        facts["spike_rate"] = round(received(graph, accuracy.rates), 5)
    if confidence is not None:
        facts["confidence"] = confidence.facts()
    if graph.labels != origin.labels and sum(map(len, origin.labels)) <= LARGEST_NAMES:
        facts["trained_labels"] = list(origin.labels)
    return facts


def measured(accuracy: float, images: int, rates: dict[str, float]) -> dict[str, Any]:
    """What so many test images say of a file."""
    spikes = {name: round(rate, 5) for name, rate in rates.items()}
    return {"accuracy": accuracy, "test_images": images, "spike_rates": spikes}


def summary(
    graph: SpikingGraph,
    size: int,
    proof: Proof,
    accuracy: Accuracy | None,
    confidence: Confidence | None,
    *,
    narrowed: Mapping[str, int],
) -> dict[str, Any]:
    """Everything the report says, for `--format json`.

    Args:
        narrowed: Channels by node that have coarser weights, see `quantise`.
    """
    return {
        "file_bytes": size,
        "parameters": graph.parameters,
        "weights": _weights(graph),
        "weight_bits": graph.weight_bits,
        "narrowed": dict(narrowed),
        "digest": graph.digest(),
        "elsewhere": ELSEWHERE,
        "proof": vars(proof),
        "layers": [_row(graph, node, accuracy) for node in graph.populations],
        "accuracy": None if accuracy is None else vars(accuracy),
        "spike_rate": None if accuracy is None else received(graph, accuracy.rates),
        "confidence": None if confidence is None else confidence.facts(),
    }


def imported(origin: Foreign) -> dict[str, Any]:
    """What is only said of other people's files."""
    return {
        "imported": origin.framework,
        "has_program": origin.has_program,
        "notes": list(origin.notes),
    }


def _weights(graph: SpikingGraph) -> str:
    """How the file holds them."""
    if graph.packed:
        return "int4"
    return "int8" if graph.exact else "float32"


def _row(graph: SpikingGraph, node: Population, accuracy: Accuracy | None) -> dict[str, Any]:
    return {
        "name": node.name,
        "shape": graph.shapes[node.name],
        "weights": int(np.sum([p.weight.size for p in node.projections])),
        "thresholds": node.threshold.size,
        "levels": node.levels,
        "bound": graph.bounds[node.name],
        "fits_int16": graph.fits_int16(node.name),
        "spike_rate": None if accuracy is None else accuracy.rates[node.name],
    }
