"""What export-snn says: one screen, or one JSON object."""

from typing import Any

import numpy as np

from snn_export.trained import Trained
from snn_export.verify import Accuracy, Proof
from snn_runtime.graph import Population, SpikingGraph


def provenance(trained: Trained, accuracy: Accuracy | None) -> dict[str, Any]:
    """What travels in the file: how the network was trained and what it reached."""
    description = trained.experiment.describe()
    stages = ("stage", "validation", "test", "spike_rate", "epochs", "seconds")
    facts: dict[str, Any] = {
        "architecture": description["architecture"],
        "settings": description["settings"],
        "data": description["data"],
        "command": description["command"],
        "stages": [{key: row[key] for key in stages} for row in trained.history],
    }
    if accuracy is not None:
        facts["accuracy"] = accuracy.exported
        facts["test_images"] = accuracy.images
        facts["spike_rates"] = {name: round(r, 5) for name, r in accuracy.rates.items()}
        facts["spike_rate"] = round(cost_weighted(trained, accuracy.rates), 5)
    return facts


def cost_weighted(trained: Trained, rates: dict[str, float]) -> float:
    """The rates of what each layer receives, weighted by the multiply-adds it causes."""
    received = {
        layer.plan.name: rates.get(f"{layer.plan.name}.pool", rates[layer.plan.name])
        for layer in trained.network.populations()
    }
    return trained.network.spike_rate(received)


def summary(
    trained: Trained, graph: SpikingGraph, size: int, proof: Proof, accuracy: Accuracy | None
) -> dict[str, Any]:
    """Everything the report says, for `--format json`."""
    return {
        "file_bytes": size,
        "parameters": graph.parameters,
        "weights": "int8" if graph.exact else "float32",
        "digest": graph.digest(),
        "proof": vars(proof),
        "layers": [_row(graph, node, accuracy) for node in graph.populations],
        "accuracy": None if accuracy is None else vars(accuracy),
        "spike_rate": None if accuracy is None else cost_weighted(trained, accuracy.rates),
    }


def text(facts: dict[str, Any], path: str, graph: SpikingGraph) -> str:
    """The report for people."""
    lines = [f"{'population':<22}{'shape':>14}{'weights':>12}{'|current| ≤':>13}{'spikes':>9}"]
    for row in facts["layers"]:
        rate = "-" if row["spike_rate"] is None else f"{row['spike_rate']:.1%}"
        shape = "x".join(map(str, row["shape"]))
        marked = f"{row['bound']:,}" + (" " if row["fits_int16"] else "+")
        lines.append(f"{row['name']:<22}{shape:>14}{row['weights']:>12,}{marked:>13}{rate:>9}")
    if graph.exact:
        lines.append("+ beyond 16 bits: an engine must accumulate wider there")
    lines.append(
        f"\n{path}: {facts['file_bytes']:,} bytes, {facts['parameters']:,} parameters, "
        f"{facts['weights']}, input {graph.image.height}x{graph.image.width} RGB, "
        f"{len(graph.labels)} labels"
    )
    proof = facts["proof"]
    lines.append(
        f"proven: checker passed, reads back to the same graph, {proof['spikes']:,} neurons of "
        f"{proof['images']} images fire alike in the exact interpreter and in ONNX Runtime"
    )
    return "\n".join([*lines, *_accuracy_lines(facts)])


def _accuracy_lines(facts: dict[str, Any]) -> list[str]:
    accuracy = facts["accuracy"]
    if accuracy is None:
        return ["accuracy not measured: name the data with --data"]
    return [
        f"accuracy on {accuracy['images']:,} test images: trained {accuracy['trained']:.2%}, "
        f"exported {accuracy['exported']:.2%}, same answer for {accuracy['agreement']:.2%}",
        f"spikes received, weighted by the work they cause: {facts['spike_rate']:.1%}",
    ]


def _row(graph: SpikingGraph, node: Population, accuracy: Accuracy | None) -> dict[str, Any]:
    return {
        "name": node.name,
        "shape": graph.shapes[node.name],
        "weights": int(np.sum([p.weight.size for p in node.projections])),
        "bound": graph.bounds[node.name],
        "fits_int16": graph.fits_int16(node.name),
        "spike_rate": None if accuracy is None else accuracy.rates[node.name],
    }
