"""SpikingGraph: a network as plain arrays, the one idea that all parts share.

nodes         image, population, projection, pool, readout: frozen records
graph         SpikingGraph: the whole network; making one checks it
soundness     shapes that fit, finite numbers, sums that stay exact
annotations   names, provenance
activations   what an engine has to keep, bounded
reference     the slow exact interpreter: the definition of the right answer
"""

from snn_runtime.graph.graph import INT16_BOUND, SpikingGraph
from snn_runtime.graph.nodes import (
    INPUT,
    Fit,
    FloatArray,
    Image,
    Node,
    Pool,
    Population,
    Projection,
    Readout,
    Shape,
    Weights,
)

__all__ = [
    "INPUT",
    "INT16_BOUND",
    "Fit",
    "FloatArray",
    "Image",
    "Node",
    "Pool",
    "Population",
    "Projection",
    "Readout",
    "Shape",
    "SpikingGraph",
    "Weights",
]
