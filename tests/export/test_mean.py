"""A mean that is no whole grey level: in the thresholds of int8, in the offset of float32."""

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from graphs import pictures

from snn_export.fold import FoldedNetwork, FoldedReadout, Neurons, Synapse
from snn_export.importers import Picture
from snn_export.quantise import to_int8
from snn_export.unrounded import to_float32
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.graph import INPUT, Projection, SpikingGraph, reference
from snn_runtime.model_file import read, to_bytes
from snn_runtime.proof.agreement import unexplained

MEANS = {
    "half": (0.5, 0.5, 0.5),
    "CIFAR": (0.4914, 0.4822, 0.4465),
    "ImageNet": (0.485, 0.456, 0.406),
    "in one colour": (0.2, 0.4, 0.1),  # 51, 102, 25.5
}
STD = (0.2471, 0.2435, 0.2616)
SIDES = (9, 8)
UNIT = 2**64
"""A float64 from 0 to 255 is a whole number of these parts, unless it is tiny."""

Geometry = tuple[int, int, int, int]
"""Kernel, stride, padding, groups."""
GEOMETRIES: tuple[Geometry, ...] = (
    *((3, 1, 1, 1), (5, 1, 2, 1), (7, 1, 3, 1), (7, 2, 3, 1), (3, 2, 1, 3), (5, 4, 4, 1)),
    *((3, 1, 2, 1), (2, 1, 1, 1), (3, 1, 0, 1), (1, 1, 0, 3)),
)
CASES: dict[str, tuple[tuple[str, Geometry | None], ...]] = {
    **{f"{k}x{k} by {s}, padding {p}": ((INPUT, (k, s, p, g)),) for k, s, p, g in GEOMETRIES},
    "dense": ((INPUT, None),),
    "two ways": ((INPUT, (3, 1, 1, 1)), (INPUT, (5, 1, 2, 1))),
    "a stride beside": ((INPUT, (3, 1, 1, 1)), (INPUT, (1, 1, 0, 3))),
    "spikes beside": (("first", (3, 1, 1, 1)), (INPUT, (3, 1, 1, 1))),
}


def folded(case: str, mean: tuple[float, ...], *, closed: bool) -> FoldedNetwork:
    """`first`, one neuron a pixel and channel, and then the population of the case."""
    rng = np.random.default_rng(len(case))
    picture = Picture.of(("x", "y"), SIDES, mean, STD)
    first = (picture.on_pixels(synapse(rng, INPUT, (3, 1, 1, 1), 3), 3),)
    second = tuple(
        picture.on_pixels(made, 3) if made.source == INPUT else made
        for made in (synapse(rng, source, geometry, 6) for source, geometry in CASES[case])
    )
    nodes = tuple(
        Neurons(name, synapses, rng.normal(0, 1, len(synapses[0].weight)), closed)
        for name, synapses in (("first", first), ("second", second))
    )
    rows, columns = positions(CASES[case][0][1])
    readout = FoldedReadout("second", rng.normal(size=(2, 6 * rows * columns)), np.zeros(2))
    return FoldedNetwork(picture.image, nodes, readout, ("x", "y"))


def synapse(rng: np.random.Generator, source: str, geometry: Geometry | None, out: int) -> Synapse:
    if geometry is None:
        return Synapse(source, rng.normal(0, 0.1, (out, 3 * SIDES[0] * SIDES[1])))
    kernel, stride, padding, groups = geometry
    weight = rng.normal(0, 0.3, (out, 3 // groups, kernel, kernel))
    return Synapse(source, weight, (stride, stride), (padding, padding), groups)


def positions(geometry: Geometry | None) -> tuple[int, int]:
    if geometry is None:
        return 1, 1
    kernel, stride, padding, _ = geometry
    height, width = ((side + 2 * padding - kernel) // stride + 1 for side in SIDES)
    return height, width


def by_definition(
    network: FoldedNetwork, graph: SpikingGraph, images: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.bool_]]:
    """[Σ v (x − M) > q θ] for the rounded weights v, in Python's whole numbers."""
    mean = [int(Fraction(m) * UNIT) for m in network.image.offset]
    assert [Fraction(m, UNIT) for m in mean] == [Fraction(m) for m in network.image.offset]
    pixels: Any = images.astype(object) * UNIT - np.array(mean, object)
    sent: dict[str, Any] = {INPUT: pixels.transpose(0, 3, 1, 2)}
    spikes = {}
    for before, after in zip(network.nodes, graph.populations, strict=True):
        assert isinstance(before, Neurons)
        rows = [np.abs(s.weight).reshape(len(s.weight), -1).max(axis=1) for s in before.synapses]
        theta = before.threshold * (127 / np.max(rows, axis=0))
        edge = np.array([Fraction(float(each)) * UNIT for each in theta], object)
        current = sum(convolved(p, sent[p.source]) for p in after.projections)
        column = edge.reshape(1, -1, 1, 1)
        fires = (current >= column if before.closed else current > column).astype(bool)
        spikes[after.name] = fires.reshape(-1, *graph.shapes[after.name])
        sent[after.name] = fires.astype(object) * UNIT
    return spikes


def convolved(projection: Projection, sent: Any) -> Any:
    """A convolution tap by tap; a dense product is one whose kernel is its whole source."""
    count, channels, *size = sent.shape
    weight = projection.weight.astype(int)
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), channels, *size)
    out, inputs, *kernel = weight.shape
    around = [(p, p) for p in projection.padding]
    padded = np.zeros(
        (count, channels, *(n + 2 * p for n, (p, _) in zip(size, around, strict=True))), object
    )
    (top, _), (left, _) = around
    padded[:, :, top : top + size[0], left : left + size[1]] = sent
    down, across = projection.stride
    rows, columns = (n - k for n, k in zip(padded.shape[2:], kernel, strict=True))
    current = np.zeros((count, out, rows // down + 1, columns // across + 1), object)
    for o, i, y, x in np.ndindex(*weight.shape):
        source = o // (out // projection.groups) * inputs + i
        window = padded[:, source, y : y + rows + 1 : down, x : x + columns + 1 : across]
        current[:, o] += int(weight[o, i, y, x]) * window
    return current


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("case", CASES)
def test_int8_is_exact_at_the_border_too(case: str, mean: str) -> None:
    network = folded(case, MEANS[mean], closed=mean in ("half", "ImageNet"))
    graph = to_int8(network)
    images = pictures(graph.image, 4)
    wanted = by_definition(network, graph, images)
    engine = OrtBackend(graph, threads=1).spikes(images)
    activity = reference.run(graph, images)
    for name, fires in wanted.items():
        np.testing.assert_array_equal(activity.spikes[name], fires, err_msg=name)
        np.testing.assert_array_equal(engine[name], fires, err_msg=name)
    for node in graph.populations:
        assert 0.05 < wanted[node.name].mean() < 0.95, f"{node.name}: would prove nothing"
    assert read(to_bytes(graph)).digest() == graph.digest()


def shapes(graph: SpikingGraph) -> list[int]:
    return [node.threshold.ndim for node in graph.populations]


@pytest.mark.parametrize("case", CASES)
def test_thresholds_are_of_channels_wherever_that_is_enough(case: str) -> None:
    ways = CASES[case]
    padded = any(source == INPUT and geometry and geometry[2] for source, geometry in ways)
    assert shapes(to_int8(folded(case, MEANS["CIFAR"], closed=False))) == [3, 3 if padded else 1]
    whole = (120.0, 115.0, 104.0)
    assert shapes(to_int8(folded(case, whole, closed=False))) == [1, 1]
    # What is left of this mean moves no threshold past an integer.
    assert shapes(to_int8(folded(case, (120.0, 115.0, 104.0 + 1e-9), closed=False))) == [1, 1]


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("case", CASES)
def test_float32_subtracts_the_mean_itself(case: str, mean: str) -> None:
    """Against torch in float64: a spike differs only where float32 rounds at the threshold."""
    network = folded(case, MEANS[mean], closed=False)
    graph = to_float32(network)
    assert shapes(graph) == [1, 1]
    images = pictures(graph.image, 4)
    engine = OrtBackend(graph, threads=1).spikes(images)
    assert not any(unexplained(graph, images, engine).values())
    pixels = torch.from_numpy(images).double() - torch.tensor(network.image.offset).double()
    sent = {INPUT: pixels.permute(0, 3, 1, 2)}
    for node in network.nodes:
        assert isinstance(node, Neurons)
        excess = sum(in_torch(s, sent[s.source]) for s in node.synapses)
        excess = excess - torch.from_numpy(node.threshold).reshape(1, -1, 1, 1)
        wanted = torch.from_numpy(engine[node.name]).reshape(excess.shape)
        assert (((excess > 0) == wanted) | (excess.abs() < 1e-5)).all(), node.name
        sent[node.name] = wanted.double()
    assert read(to_bytes(graph)).image == graph.image


def in_torch(s: Synapse, sent: torch.Tensor) -> torch.Tensor:
    weight = torch.from_numpy(s.weight)
    if weight.ndim == 2:
        weight = weight.reshape(len(weight), *sent.shape[1:])
    return torch.nn.functional.conv2d(sent, weight, None, s.stride, s.padding, 1, s.groups)
