"""Proof, in the command that writes the file, that the file computes what was trained."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import torch

from snn_export.origin import Origin
from snn_runtime.engines import Backend
from snn_runtime.errors import VerifyError
from snn_runtime.graph import INPUT, FloatArray, Image, SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.model_file import read, to_bytes
from snn_runtime.proof.agreement import follow, unexplained
from snn_runtime.proof.golden import golden_images
from snn_train.data import DataSet
from snn_train.data.on_disk import Images, evaluation_batch, subset

Run: TypeAlias = Callable[[npt.NDArray[np.uint8]], FloatArray]
SAMPLED = 500
"""Pictures, about, of which spikes are counted."""
PROVEN_IMAGES = 16
"""Photographs compared neuron by neuron with the interpreter, beside the golden images."""


@dataclass(frozen=True)
class Proof:
    """What was shown for one file."""

    images: int
    spikes: int
    """Neurons compared with the interpreter, one by one; every one agreed."""
    never: tuple[str, ...] = ()
    """Populations of which no neuron fired on any of the images."""
    always: tuple[str, ...] = ()
    """Populations of which every neuron fired on all of them."""


@dataclass(frozen=True)
class Accuracy:
    """Measured on the test images of the data set."""

    images: int
    trained: float
    """Accuracy of the torch network in float32, 0 to 1."""
    exported: float
    """Accuracy of the graph in its engine."""
    agreement: float
    """Fraction of images for which both say the same."""
    rates: dict[str, float] = field(default_factory=dict)
    """Spikes a neuron that each node sends, of counts the fraction that are not zero; a dense
    network has none."""


def prove(
    graph: SpikingGraph, engine: Backend, data: DataSet | None, *, golden: str | None = None
) -> Proof:
    """Check the file and compare interpreter and engine on every neuron of every population.

    Args:
        golden: The graph's golden hash, where it is known.

    Raises:
        VerifyError: `parity`, naming the population, or what the checker says.
    """
    content = to_bytes(graph, golden=golden)
    try:
        onnx.checker.check_model(content, full_check=True)
    except onnx.checker.ValidationError as error:
        raise VerifyError("parity", f"onnx.checker refuses the file: {error}") from error
    if read(content).digest() != graph.digest():
        raise VerifyError("parity", "the file does not read back to the graph it was written from")
    images = evidence(graph.image, data)
    spikes = engine.spikes(images)
    for population, count in unexplained(graph, images, spikes).items():
        if count:
            raise VerifyError(
                "parity", f"{population}: {count} neurons differ between interpreter and engine"
            )
    if not follow(graph, spikes, engine.run(images)):
        raise VerifyError("parity", "logits: the engine's do not follow from its spikes")
    return Proof(
        len(images),
        sum(fired.size for fired in spikes.values()),
        never=tuple(name for name, fired in spikes.items() if not fired.any()),
        always=tuple(name for name, fired in spikes.items() if fired.all()),
    )


def evidence(image: Image, data: DataSet | None) -> npt.NDArray[np.uint8]:
    """The pictures on which computations are compared: the golden ones and a few photographs."""
    images = golden_images(image)
    if data is None:
        return images
    photographs = data.test_images[:: max(1, len(data.test_images) // PROVEN_IMAGES)]
    return np.concatenate([images, photographs[:PROVEN_IMAGES].numpy()])


def measure(
    origin: Origin, graph: SpikingGraph, engine: Backend, data: DataSet
) -> tuple[Accuracy, FloatArray]:
    """Run all test images through the unfolded network and through the graph in its engine, whose
    logits are returned, too."""
    accuracy, logits = judge(origin, engine.run, data)
    return replace(accuracy, rates=rates(graph, engine, data.test_images)), logits


def judge(origin: Origin, run: Run, data: DataSet) -> tuple[Accuracy, FloatArray]:
    """The same without rates; `run` returns the logits of uint8 `[N, H, W, 3]`."""
    labels = data.test_labels.numpy()
    before, exported = np.empty_like(labels), []
    for part in parts(data.test_images):
        images = data.test_images[part]
        with torch.no_grad():
            before[part] = origin.logits(images).argmax(1).numpy()
        exported.append(run(images.numpy()))
    logits = np.concatenate(exported)
    after = logits.argmax(1)
    accuracy = Accuracy(
        len(labels),
        float((before == labels).mean()),
        float((after == labels).mean()),
        float((before == after).mean()),
    )
    return accuracy, logits


def rates(graph: SpikingGraph, engine: Backend, images: Images) -> dict[str, float]:
    """Those of `sent_rates` on some 500 of the pictures."""
    sample = subset(images, torch.arange(0, len(images), max(1, len(images) // SAMPLED)))
    total = dict.fromkeys((node.name for node in graph.nodes), 0.0)
    for part in parts(sample):
        pixels = sample[part].numpy()
        for name, rate in sent_rates(graph, engine.spikes(pixels)).items():
            total[name] += rate * len(pixels) / len(sample)
    return total


def parts(images: Images) -> Iterator[slice]:
    """Cut pictures into batches that fit in memory whatever their size."""
    size = evaluation_batch(images)
    return (slice(start, start + size) for start in range(0, len(images), size))


def sent_rates(graph: SpikingGraph, spikes: dict[str, Spikes]) -> dict[str, float]:
    """Spikes a neuron that every node sends; of counts the fraction that are not zero."""
    sent: dict[str, Spikes] = {}
    for node in graph.nodes:
        if node.fires:
            sent[node.name] = spikes[node.name]
        else:
            # Of a count only whether it is zero is kept: a bit, where it may be large.
            value = node.respond(sent)
            sent[node.name] = value != 0 if node.counts else value
    return {name: float(values.sum(dtype=np.int64) / values.size) for name, values in sent.items()}


def received(graph: SpikingGraph, rates: dict[str, float]) -> float:
    """`rates` of the graph's nodes, weighted by the multiply-adds that they cause: where weights
    only sum, an identity shortcut or the OR of a pool, there are none."""
    caused = [(graph.readout.source, graph.readout.weight.size)]
    for node in graph.populations:
        positions = math.prod(graph.shapes[node.name][1:])
        caused += [(p.source, p.weight.size * positions) for p in node.projections if not p.sums]
    spiking = [(rates[source], work) for source, work in caused if source != INPUT]
    return sum(rate * work for rate, work in spiking) / sum(work for _, work in spiking)
