"""A model file that exists gets probabilities that mean something, for new photographs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from snn_export.calibration import calibrate
from snn_export.exporting import check_data, read_data
from snn_export.report import Written, measured
from snn_export.text import confidence_lines
from snn_export.verify import parts, rates, received
from snn_runtime.files import check_target, write_atomic
from snn_runtime.model import load
from snn_runtime.model_file import to_bytes
from snn_train.data import DataSet


def recalibrate(
    path: Path, target: Path, data: DataSet | str, *, threads: int | None = None
) -> Written:
    """Fit the calibration of the model file `path` on `data`, and write it to `target`, with the
    accuracy and the firing rates measured there.

    No weight and no golden hash changes: logits stay the bits that they were. The file is written
    wholly or not at all, so `target` may be `path`. It has the permissions of what it replaces.

    Raises:
        ModelError: `path` is refused.
        InputError: `bad_data`: other classes or sizes than the network's.
        ResourceError: The file cannot be written.
    """
    check_target(target)  # links in a circle lead nowhere
    target = target.resolve()  # a link stays one
    check_target(target)
    model = load(path, threads=threads)
    graph, provenance = model.graph, json.loads(model.graph.provenance)
    pictures = read_data(data, graph) if isinstance(data, str) else data
    check_data(pictures, graph)
    test = pictures.test_images
    logits = np.concatenate([model.backend.run(test[part].numpy()) for part in parts(test)])
    confidence = calibrate(model.backend, model.graph.channels, provenance, pictures, logits)
    fired = rates(model.graph, model.backend, test)
    provenance |= measured(confidence.test_accuracy, confidence.test_images, fired)
    provenance["spike_rate"] = round(received(model.graph, fired), 5)
    provenance["confidence"] = confidence.facts()
    graph = replace(graph, calibration=confidence.calibration, provenance=json.dumps(provenance))
    write_atomic(target, to_bytes(graph, golden=model.golden), like=target)
    facts = {
        "file_bytes": target.stat().st_size,
        "digest": graph.digest(),
        "confidence": provenance["confidence"],
    }
    lines = [
        f"{target}: {facts['file_bytes']:,} bytes",
        f"accuracy on {confidence.test_images:,} test images: {confidence.test_accuracy:.2%}",
        *confidence_lines(provenance["confidence"]),
    ]
    return Written(facts, "\n".join(lines))
