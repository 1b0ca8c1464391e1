"""Whether an engine is right: the spikes of the golden images, then the logits that follow.

The engine that serves outputs no spikes, which would prevent fusions. A debug engine of the same
form does. If its spikes are the golden ones, the engine that serves must make the logits that
follow from them. These logits are stored with it and compared again whenever it is loaded.

Spikes of float32 networks may round either way, also differently in two engines, and no logits
follow from another engine's spikes: there the debug engine serves itself.
"""

from collections.abc import Mapping

import numpy as np

from snn_runtime.graph import FloatArray, SpikingGraph
from snn_runtime.graph.reference import Spikes
from snn_runtime.proof.agreement import logits_of, logits_tolerance, unexplained
from snn_runtime.proof.golden import golden_hash, golden_images


class Wrong(Exception):
    """An engine does not compute what the model's maker did."""


def logits(graph: SpikingGraph, sums: FloatArray) -> FloatArray:
    """`a · sum + b`, each rounded once. Sums of integers are within ¼ of an integer: that is it."""
    if graph.exact:
        sums = np.rint(sums)
    return sums * graph.readout.scale + graph.readout.bias


def prove_spikes(graph: SpikingGraph, golden: str, spikes: Mapping[str, Spikes]) -> FloatArray:
    """Return the logits of the golden images that follow from the spikes of a debug engine.

    Raises:
        Wrong: Naming what is.
    """
    if graph.exact:
        if golden_hash(spikes) != golden:
            raise Wrong("the golden images cause other spikes")
        return logits_of(graph, spikes)
    counts = unexplained(graph, golden_images(graph.image), spikes)
    wrong = next((name for name, count in counts.items() if count), None)
    if wrong is not None:
        raise Wrong(f"population {wrong} does not spike as it must")
    return logits_of(graph, spikes)


def prove_logits(graph: SpikingGraph, expected: FloatArray, sums: FloatArray) -> None:
    """Compare the engine that serves with what must come of the golden images.

    Raises:
        Wrong: They differ, with float32 weights by more than rounding explains.
    """
    made = logits(graph, sums)
    if not (np.abs(made.astype(np.float64) - expected) <= logits_tolerance(graph)).all():
        raise Wrong("the golden images cause other logits")
