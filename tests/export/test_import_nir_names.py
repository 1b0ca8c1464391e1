"""NIR: the names of nodes, and thresholds that are not positive."""

from typing import Any

import networks
import nir
import numpy as np
import pytest
import torch
from test_import_nir import conv, lif, picture, swapped

from snn_export.importers import nir_graphs
from snn_export.importers.layers import Flattened, Layers
from snn_runtime.errors import ModelError
from snn_runtime.graph import INPUT

WIDE = (4, 12, 12)


def branching(name: str) -> nir.NIRGraph:
    """`b` reads two layers of neurons, so that a sum is laid before it, and `name` a third."""
    rng = np.random.default_rng(3)
    nodes: dict[str, Any] = {"in": nir.Input(np.array([3, 12, 12]))}
    edges: list[tuple[str, str]] = []
    for source, target in (("c1", "n1"), ("c2", "n2"), ("c3", name)):
        nodes |= {source: conv(rng, 4, 3, 12), target: lif(WIDE, rng)}
        edges += [("in", source), (source, target)]
    nodes |= {"b": conv(rng, 4, 4, 12), "nb": lif(WIDE, rng), "last": conv(rng, 4, 4, 12)}
    nodes |= {"n": lif(WIDE, rng), "flat": nir.Flatten(np.array(WIDE), start_dim=0)}
    nodes |= {"fc": nir.Linear(rng.normal(0, 1, (4, 576))), "out": nir.Output(np.array([4]))}
    edges += [("n1", "b"), ("n2", "b"), ("b", "nb"), ("nb", "last"), (name, "last"), ("last", "n")]
    edges += [("n", "flat"), ("flat", "fc"), ("fc", "out")]
    return nir.NIRGraph(nodes=nodes, edges=edges, type_check=False)


@pytest.mark.parametrize("name", ["b.sum", "b.sum.2", "last.sum", INPUT])
def test_the_name_of_a_node_changes_no_answer(name: str) -> None:
    images = torch.from_numpy(networks.pictures((12, 12), 4))
    wanted, given = (
        nir_graphs.from_graph(branching(each), picture()).logits(images) for each in ("n3", name)
    )
    torch.testing.assert_close(given, wanted, rtol=0, atol=0)


def test_two_layers_of_one_name_are_never_made() -> None:
    with pytest.raises(AssertionError, match="would stand for another of its name"):
        Layers((Flattened("a", INPUT), Flattened("a", INPUT)), "a")


def test_a_threshold_of_zero_is_told_what_can_be_done() -> None:
    graph = swapped("threshold", nir.Threshold(np.zeros(9)))
    with pytest.raises(ModelError) as refusal:
        nir_graphs.from_graph(graph, picture())
    assert "threshold 0 is not positive, expected one above 0; raise it" in str(refusal.value)
    assert "train" not in str(refusal.value)
