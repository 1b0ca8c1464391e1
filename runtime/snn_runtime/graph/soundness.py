"""What makes a SpikingGraph sound: nodes that fit each other, and work that has an end.

What a kind of node asks of its own sources and arrays stands with the kind, in `nodes`.
"""

import math
from collections.abc import Mapping

from snn_runtime.calibration import Calibration
from snn_runtime.errors import ModelError
from snn_runtime.graph.activations import check_kept, check_unfolded
from snn_runtime.graph.annotations import check_name
from snn_runtime.graph.ends import Image, Readout
from snn_runtime.graph.nodes import Node
from snn_runtime.graph.values import INPUT, READOUT, Shape, refuse
from snn_runtime.labels import check_labels

MAX_VALUES = 2**27
"""Numbers that one node may send per image: half a gigabyte in float32."""
MAX_WORK = 2**38
"""Multiply-adds per image, 70 times a ResNet-50: a file that needs more is meant to stall us. A
source that sends up to n counts n times, for an engine may add each of its spikes."""


def check(
    image: Image, nodes: tuple[Node, ...], readout: Readout, labels: tuple[str, ...]
) -> tuple[dict[str, Shape], dict[str, int]]:
    """Return the shape per example and the largest |value| of the image and of every node.

    A population's bound is that of its current; what it sends on are spikes.

    Raises:
        ModelError: `bad_graph`, naming the node and what is wrong with it.
    """
    image.check(readout.exact)
    check_labels(labels)
    shapes: dict[str, Shape] = {INPUT: (3, image.height, image.width)}
    bounds = {INPUT: image.largest}
    sent = dict(bounds)
    work = 0
    for node in nodes:
        check_name(node.name)
        if node.name in shapes:
            raise refuse(node.name, "two nodes have this name")
        shapes[node.name] = node.shape(shapes, readout.exact)
        bounds[node.name] = node.bound(sent, readout.exact)
        sent[node.name] = node.largest(bounds[node.name])
        _check_values(node.name, shapes[node.name])
        work = _checked_work(node.name, work + work_of(node, shapes[node.name], sent))
    readout.check(len(labels), shapes, sent)
    _checked_work(READOUT, work + readout.weight.size * sent[readout.source])
    check_kept(nodes, shapes, sent)
    check_unfolded(nodes, readout)
    return shapes, bounds


def check_calibration(calibration: Calibration, classes: int, channels: Mapping[str, int]) -> None:
    """Raises: ModelError: `bad_graph`: it is not that of so many classes and channels."""
    try:
        calibration.check(classes, channels)
    except ValueError as error:
        raise ModelError("bad_graph", f"calibration: {error}") from error


def work_of(node: Node, shape: Shape, sent: Mapping[str, int]) -> int:
    """Multiply-adds of a node of this shape for an image, given the largest that its sources send.

    A number of spikes is as many additions, but a colour is one number, however large.
    """
    each = (count * (1 if source == INPUT else sent[source]) for source, count in node.fan_in)
    return math.prod(shape) * sum(each)


def _check_values(name: str, shape: Shape) -> None:
    values = math.prod(shape)
    if values > MAX_VALUES:
        raise refuse(name, f"sends {values:,} values an image, limit is {MAX_VALUES:,}")


def _checked_work(name: str, work: int) -> int:
    if work > MAX_WORK:
        raise refuse(name, f"{work:,} multiply-adds up to here, limit is {MAX_WORK:,}")
    return work
