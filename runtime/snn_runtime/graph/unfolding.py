"""What a network's weights cost in memory where an engine lays them out, by arithmetic.

Rows of weights have one length, whatever they are for: those of few outputs are mostly zeros, and
so are those of outputs in groups, which read different sources.
"""

from collections.abc import Iterable

from snn_runtime.graph.activations import NUMBER
from snn_runtime.graph.ends import Readout
from snn_runtime.graph.nodes import Node
from snn_runtime.graph.population import Population
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, READOUT, refuse

MAX_UNFOLDED = 2**31
"""Bytes of all weights together: eight times those of the largest file."""
ROW = 64
"""Outputs whose weights stand in a row at least."""


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
    sizes = {node.name: _size(node) for node in nodes if isinstance(node, Population)}
    total = 0
    for name, size in (sizes | {READOUT: unfolded(*readout.weight.shape)}).items():
        total += size
        if total > MAX_UNFOLDED:
            raise refuse(
                name,
                f"{total:,} bytes of weights up to here in rows of {ROW} outputs, limit is "
                f"{MAX_UNFOLDED:,}",
            )


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
