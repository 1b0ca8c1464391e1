"""What a network costs in memory while it runs, its values and its weights, by arithmetic.

The bound on values is on the sum over all nodes, which no order of work and no engine can exceed;
what is reported is what has to be there at once, for an engine that goes through the nodes in their
order and forgets a value once its last reader has run.

Rows of weights have one length, whatever they are for: those of few outputs are mostly zeros, and
so are those of outputs in groups, which read different sources.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from snn_runtime.graph.ends import Readout
from snn_runtime.graph.nodes import Node
from snn_runtime.graph.population import Population
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, READOUT, Shape, refuse

MAX_KEPT = 2**31
"""Bytes for one image, all nodes together: forty VGG16 at 224 pixels."""
NUMBER = 4
"""Bytes of a number where a dense engine keeps it, and of a spike in a list of spikes."""
_WORD = 64
"""Channels of a pixel whose bits are kept together, in 8 bytes; 4 say where its spikes begin."""
_LINE = 132
"""Bytes of a line of pixels beside: what is read past the end of its list, and where that is."""
MAX_UNFOLDED = 2**31
"""Bytes of all weights together: eight times those of the largest file."""
ROW = 64
"""Outputs whose weights stand in a row at least."""


def kept(shape: Shape, largest: int) -> int:
    """Bytes of a value in the engine that needs most: a number each, or a list of as many spikes
    as there can be, the bits they come from, and if it counts spikes, the counts."""
    channels, pixels = shape[0], math.prod(shape[1:])
    numbers = channels * pixels * (largest + (largest > 1))
    return NUMBER * numbers + 12 * pixels * -(-channels // _WORD) + _LINE * math.prod(shape[1:2])


def padded(nodes: Iterable[Node], image: Shape) -> Shape:
    """The shape of the image within the largest paddings that it is read with: one copy of it
    serves all projections."""
    own = [projection.padding for projection in _projections(nodes) if projection.source == INPUT]
    margins = [max(each) for each in zip((0, 0), *own, strict=True)]
    return image[0], *(size + 2 * pad for size, pad in zip(image[1:], margins, strict=True))


def gathered(node: Node, sent: Mapping[str, int]) -> int:
    """Bytes of the list of spikes that one position of a population may see, in all groups."""
    spikes = (
        projection.groups * projection.fan_in * sent[projection.source]
        for projection in _projections([node])
        if projection.source != INPUT
    )
    return NUMBER * sum(spikes)


def check_kept(
    nodes: tuple[Node, ...], shapes: Mapping[str, Shape], sent: Mapping[str, int]
) -> None:
    """Refuse what needs more than `MAX_KEPT` to run on one image.

    Args:
        nodes: In graph order.
        shapes: Of the image and every node.
        sent: The largest number each sends.

    Raises:
        ModelError: `bad_graph`, naming the node with which it is too much.
    """
    image = padded(nodes, shapes[INPUT])
    sizes = {n.name: kept(shapes[n.name], sent[n.name]) + gathered(n, sent) for n in nodes}
    for name, total in _beyond(MAX_KEPT, ({INPUT: kept(image, 1)} | sizes).items()):
        # Without paddings no image is so large.
        what = f"padded to {image[1]:,}x{image[2]:,} pixels, " if name == INPUT else ""
        raise refuse(
            name,
            f"{what}{total:,} bytes of activations an image up to here, limit is {MAX_KEPT:,}",
        )


def unfolded(outputs: int, fan_in: int, groups: int = 1) -> int:
    """Bytes of weights: the outputs of a row may belong to so many groups, and read all of them."""
    own = outputs // groups
    return in_rows(outputs) * fan_in * min(groups, (ROW - 1) // own + 2)


def in_rows(outputs: int) -> int:
    """Outputs in whole rows."""
    return -(-outputs // ROW) * ROW


def check_unfolded(nodes: Iterable[Node], readout: Readout) -> None:
    """Raises: ModelError: `bad_graph`: naming the node with which it is more than
    `MAX_UNFOLDED`."""
    sizes = [(node.name, _size(node)) for node in nodes if isinstance(node, Population)]
    for name, total in _beyond(MAX_UNFOLDED, (*sizes, (READOUT, unfolded(*readout.weight.shape)))):
        raise refuse(
            name,
            f"{total:,} bytes of weights up to here in rows of {ROW} outputs, limit is "
            f"{MAX_UNFOLDED:,}",
        )


def last_reads(nodes: Iterable[Node], readout: Readout) -> Iterator[tuple[str, ...]]:
    """Yield, for every node, the names of the values that nobody needs once it has run.

    A value that nobody reads at all is among them when it is made.
    """
    order = list(nodes)
    last = {node.name: index for index, node in enumerate(order)}
    for index, node in enumerate(order):
        last |= dict.fromkeys(node.sources, index)
    last[readout.source] = len(order)
    done: defaultdict[int, list[str]] = defaultdict(list)
    for name, index in last.items():
        done[index].append(name)
    for index in range(len(order)):
        yield tuple(done[index])


def peak(nodes: tuple[Node, ...], readout: Readout, shapes: Mapping[str, Shape]) -> int:
    """Bytes of the values of one image that are needed at once, as float32 numbers."""
    size = {name: NUMBER * math.prod(shape) for name, shape in shapes.items()}
    alive = most = size[INPUT]
    for node, dead in zip(nodes, last_reads(nodes, readout), strict=True):
        alive += size[node.name]
        most = max(most, alive)
        alive -= sum(size[name] for name in dead)
    return most


def _beyond(most: int, sizes: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Yield each name with which the sum is beyond `most`, and the sum."""
    total = 0
    for name, size in sizes:
        total += size
        if total > most:
            yield name, total


def _projections(nodes: Iterable[Node]) -> Iterator[Projection]:
    for node in nodes:
        if isinstance(node, Population):
            yield from node.projections


def _size(population: Population) -> int:
    total = sum(map(_bytes, population.projections))
    if population.threshold.ndim == 3:  # pixels may all differ
        total += NUMBER * in_rows(population.channels) * population.threshold[0].size
    return total


def _bytes(projection: Projection) -> int:
    outputs, groups = len(projection.weight), projection.groups
    if projection.source == INPUT:  # of all colours for each output, and of 16 bits each
        return 2 * in_rows(outputs) * groups * projection.fan_in
    return unfolded(outputs, projection.fan_in, groups)
