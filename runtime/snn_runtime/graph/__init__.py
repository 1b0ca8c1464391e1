"""SpikingGraph: a network as plain arrays, the one idea that all parts share.

population    neurons: their projections, threshold and equation
nodes         the kinds without weights, each with its equation; all kinds, and their visitor
kind          what every kind of node answers: shape, bound, response, description
projection    weights from one source to a population
ends          the image and the readout
graph         SpikingGraph: the whole network; making one checks it
soundness     nodes that fit each other, and work that has an end
values        arrays and their limits: sums that stay exact
annotations   names, provenance
activations   what an engine has to keep, of an image and of the weights, bounded
builder       graphs made node by node
reference     the slow exact interpreter: the definition of the right answer
lowering      the one walk for what makes another form of a graph
"""

from snn_runtime.fit import Fit
from snn_runtime.graph.builder import Builder
from snn_runtime.graph.ends import Image, Readout
from snn_runtime.graph.graph import INT16_BOUND, SpikingGraph
from snn_runtime.graph.lowering import Lowering
from snn_runtime.graph.nodes import Elementwise, Node, Pool, Visitor, Weightless
from snn_runtime.graph.population import Population
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import INPUT, OUTPUT, READOUT, FloatArray, Numbers, Shape, Weights

__all__ = [
    "INPUT",
    "INT16_BOUND",
    "Builder",
    "Elementwise",
    "Fit",
    "FloatArray",
    "Image",
    "Lowering",
    "Node",
    "Numbers",
    "OUTPUT",
    "Pool",
    "Population",
    "Projection",
    "READOUT",
    "Readout",
    "Shape",
    "SpikingGraph",
    "Visitor",
    "Weightless",
    "Weights",
]
