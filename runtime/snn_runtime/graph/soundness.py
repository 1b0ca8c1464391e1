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
from snn_runtime.graph.values import INPUT, Shape, refuse
from snn_runtime.labels import check_labels

MAX_VALUES = 2**27
"""Numbers that one node may send per image: half a gigabyte in float32."""
MAX_WORK = 2**38
"""Multiply-adds per image, 70 times a ResNet-50: a file that needs more is meant to stall us."""


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
        work = _checked_work(node, shapes[node.name], work)
    readout.check(len(labels), shapes, sent)
    check_kept(nodes, shapes, sent)
    check_unfolded(nodes, readout)
    return shapes, bounds


def check_calibration(calibration: Calibration, classes: int, channels: Mapping[str, int]) -> None:
    """Raises: ModelError: `bad_graph`: it is not that of so many classes and channels."""
    try:
        calibration.check(classes, channels)
    except ValueError as error:
        raise ModelError("bad_graph", f"calibration: {error}") from error


def _checked_work(node: Node, shape: Shape, work: int) -> int:
    """`work` and this node's multiply-adds."""
    values = math.prod(shape)
    if values > MAX_VALUES:
        raise refuse(node.name, f"sends {values:,} values an image, limit is {MAX_VALUES:,}")
    work += values * sum(count for _, count in node.fan_in)
    if work > MAX_WORK:
        raise refuse(node.name, f"{work:,} multiply-adds up to here, limit is {MAX_WORK:,}")
    return work
