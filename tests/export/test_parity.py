"""A graph that is not the trained network's is never written: folding errs, export says where."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch

from snn_export import trained
from snn_export.exporting import export
from snn_export.fold import FoldedNetwork, Neurons
from snn_export.recorded import Recorded
from snn_export.trained import Trained
from snn_runtime.errors import VerifyError
from snn_runtime.graph import reference
from snn_runtime.model_file import golden_of, read_file
from snn_train.choices import RecipeName
from snn_train.integer import in_integers

CASES: list[tuple[str, RecipeName, tuple[int, int], int, int]] = [
    ("vgg5", "iir-bn", (8, 8), 1, 0),
    ("vgg5", "iir", (35, 18), 2, 0),  # its last map is averaged over no power of two
    ("resnet12", "iir-bn", (16, 16), 2, 0),
    ("resnet18_bn", "iir-bn", (33, 24), 1, 0),  # windows that overlap
    ("vgg9", "iir", (19, 17), 1, 4),
    ("resnet12", "iir-bn", (16, 16), 2, 8),
]


def a_network(
    name: str, recipe: RecipeName, size: tuple[int, int], levels: int, bits: int
) -> Trained:
    described = networks.experiment(name, recipe, size, width=0.06, hidden=8, levels=levels)
    made = networks.network(described, 3).float()
    if bits:
        made = in_integers(made, bits, described.normalisation)
    return Trained(made.eval(), described, {}, [])


def with_other_threshold(folded: FoldedNetwork, place: int) -> FoldedNetwork:
    """One population's constants the other way round, as a wrong sign in folding makes them."""
    nodes = list(folded.nodes)
    own = [number for number, node in enumerate(nodes) if isinstance(node, Neurons)]
    node = nodes[own[place]]
    assert isinstance(node, Neurons)
    order = slice(None, None, -1 if node.threshold.ndim == 2 else None)  # levels stay in theirs
    nodes[own[place]] = replace(node, threshold=-node.threshold[order])
    return replace(folded, nodes=tuple(nodes))


def with_other_logits(folded: FoldedNetwork) -> FoldedNetwork:
    return replace(folded, readout=replace(folded.readout, weight=-folded.readout.weight))


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("weights", ["int8", "float32"])
def test_every_network_is_compared_with_its_file(case: Any, weights: Any, tmp_path: Path) -> None:
    made = a_network(*case)
    exported = export(made, tmp_path / "m.onnx", weights=weights, threads=1)
    parity = exported.parity
    assert parity.spikes > 1000 and parity.rounded <= 1e-4 * parity.spikes
    if made.bits:
        assert (parity.rounded, parity.layerwise, parity.running) == (0, 0, 0)
        assert parity.same_label == 1
    assert exported.facts["parity"] == vars(parity)
    assert "against the trained network: with unrounded weights all" in exported.text()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("weights", ["int8", "float32"])
@pytest.mark.parametrize("place", [0, -1, None])
def test_a_file_that_is_not_what_was_trained_is_not_written(
    case: Any, weights: Any, place: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = a_network(*case)
    right = made.fold()
    wrong = with_other_logits(right) if place is None else with_other_threshold(right, place)
    monkeypatch.setattr(trained, "fold", lambda _: wrong)
    named = "logits" if place is None else made.network.populations()[place].plan.name
    with pytest.raises(VerifyError, match=rf"^{named}: .* the trained network and the exported"):
        export(made, tmp_path / "m.onnx", weights=weights, threads=1)
    assert not (tmp_path / "m.onnx").exists()


def test_one_spike_of_an_integer_network_is_not_let_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tolerance for rounding would hide a threshold that is one too high: integers have none."""
    made = a_network("vgg5", "iir-bn", (8, 8), 1, 8)
    right = made.fold()
    first = right.nodes[0]
    assert isinstance(first, Neurons)
    beside = replace(first, threshold=first.threshold + 1)
    wrong = replace(right, nodes=(beside, *right.nodes[1:]))
    monkeypatch.setattr(trained, "fold", lambda _: wrong)
    images = networks.pictures((8, 8), 512)
    monkeypatch.setattr("snn_export.exporting.evidence", lambda *_: images)
    with pytest.raises(VerifyError, match=r"^conv1: \d+ neurons differ"):
        export(made, tmp_path / "m.onnx", threads=1)


def test_pictures_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Spikes of all pictures of a large network would fill the memory."""
    made = a_network("vgg5", "iir-bn", (8, 8), 1, 0)
    whole = export(made, tmp_path / "m.onnx", threads=1).parity
    seen: list[int] = []
    own = Recorded.run
    monkeypatch.setattr("snn_export.parity.HELD", 1)

    def counted(self: Recorded, images: torch.Tensor) -> Any:
        seen.append(len(images))
        return own(self, images)

    monkeypatch.setattr(Recorded, "run", counted)
    assert export(made, tmp_path / "m.onnx", threads=1).parity == whole
    assert seen == [1] * 8


def test_the_golden_hash_is_computed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the interpreter, which takes minutes for large networks."""
    runs: list[object] = []

    def counted(*given: Any) -> Any:
        runs.append(given)
        return reference.run(*given)

    monkeypatch.setattr("snn_runtime.model_file.file.run", counted)
    export(a_network("vgg5", "iir-bn", (8, 8), 1, 0), tmp_path / "m.onnx", threads=1)
    assert len(runs) == 1
    assert read_file(tmp_path / "m.onnx").golden == golden_of(read_file(tmp_path / "m.onnx").graph)


def test_what_is_recorded_is_what_the_network_fires() -> None:
    made = a_network("vgg5", "iir", (35, 18), 2, 0)
    pixels = torch.from_numpy(networks.pictures((35, 18)))
    spikes, logits = Recorded(made).run(pixels)
    images = made.experiment.normalisation(pixels)
    sent, said = networks.sent_values(made.network, images)
    assert torch.equal(logits, said)
    for layer in made.network.populations():
        fired = torch.from_numpy(spikes[layer.plan.name]).float()
        assert torch.equal(layer.pool(fired), sent[layer.plan.name])
        assert set(np.unique(spikes[layer.plan.name])) == {0, 1, 2}
