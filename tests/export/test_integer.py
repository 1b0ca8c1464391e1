"""The integer stage's graph is what was trained: the same spikes, integers and labels, exactly."""

import json
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snn_export import cli
from snn_export.quantise import to_int8
from snn_export.trained import Trained, fold, load
from snn_export.unrounded import to_float32
from snn_runtime.command import run_command
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError
from snn_runtime.graph import Pool, SpikingGraph, reference
from snn_runtime.model import load as load_model
from snn_train.choices import BITS, RecipeName
from snn_train.experiment import Experiment
from snn_train.integer import IntegerNetwork, in_integers
from snn_train.network import SpikingNetwork

CASES: list[tuple[str, RecipeName, tuple[int, int], int]] = [
    ("vgg5", "iir-bn", (8, 8), 0),
    ("vgg9", "iir-bn", (19, 17), 16),
    ("vgg9", "iir", (19, 17), 16),
    ("vgg5", "iir", (35, 18), 8),  # its last map is pooled over windows that are no power of two
    ("resnet12", "iir-bn", (16, 16), 0),
    ("vgg9s", "iir-bn", (9, 16), 0),
    ("resnet12", "iir", (17, 13), 0),
]
EVERY = [
    *((*case, levels) for case in CASES for levels in (1, 2)),
    ("resnet18_bn", "iir-bn", (33, 24), 0, 1),
    ("resnet50_bn", "iir-bn", (32, 32), 0, 1),
]


def integer_network(described: Experiment, bits: int, seed: int = 0) -> IntegerNetwork:
    """One with trained-looking numbers."""
    made = networks.network(described, seed).float()
    return in_integers(made, bits, described.normalisation)


def exported(described: Experiment, made: SpikingNetwork) -> SpikingGraph:
    return to_int8(fold(Trained(made.eval(), described, {}, [])))


@torch.no_grad()
def assert_equal(described: Experiment, made: IntegerNetwork, graph: SpikingGraph) -> None:
    """Torch, the int64 interpreter and ONNX Runtime: every spike, count and logit."""
    architecture = described.architecture
    pixels = networks.pictures((architecture.image_height, architecture.image_width))
    images = described.normalisation(torch.from_numpy(pixels))
    ours, engine = reference.run(graph, pixels), OrtBackend(graph, threads=1)
    for name, spikes in engine.spikes(pixels).items():
        assert (spikes == ours.spikes[name]).all(), name
    sent = {"image": made.pixels(images)}
    assert (sent["image"].numpy() == reference.centred(graph, pixels)).all()
    pools = {node.name: node for node in graph.nodes if isinstance(node, Pool)}
    for layer in made.populations():
        name = layer.plan.name
        theirs, fired = made.spikes(layer, sent).numpy(), ours.spikes[name].astype(np.int64)
        pooled = ours.spikes.get(f"{name}.pool", fired)  # by neurons, where windows overlap
        if f"{name}.pool" in pools:
            pooled = pools[f"{name}.pool"].compute({name: fired})
        assert (theirs == (pooled if layer.max_pool else fired)).all(), name
        sent[name] = made.send(layer, sent)
        assert (sent[name].numpy() == pooled).all(), name
    logits = made(images).numpy()
    assert (logits == ours.logits).all()
    assert (engine.run(pixels).argmax(1) == logits.argmax(1)).all()


def assert_on_grid(graph: SpikingGraph, bits: int) -> None:
    largest = 2 ** (bits - 1) - 1
    rows = [[p.weight for p in node.projections] for node in graph.populations]
    for weights in [*rows, [graph.readout.weight]]:
        peaks = np.max([np.abs(w).reshape(len(w), -1).max(axis=1) for w in weights], axis=0)
        assert set(peaks.tolist()) <= {0, largest}
    assert graph.weight_bits == bits


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize(("name", "recipe", "size", "hidden", "levels"), EVERY)
def test_the_graph_is_what_was_trained(
    name: str, recipe: RecipeName, size: tuple[int, int], hidden: int, levels: int, bits: int
) -> None:
    """After a few steps of training, dropout and all."""
    described = networks.experiment(name, recipe, size, width=0.06, hidden=hidden, levels=levels)
    made = integer_network(described, bits, seed=5).train()
    before = exported(described, made)
    optimiser = torch.optim.AdamW(made.parameters(), 3e-3)
    images = described.normalisation(torch.from_numpy(networks.pictures(size, 12, seed=2)))
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(made(images), torch.arange(12) % 3)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        optimiser.step()
        made.clamp()
    graph = exported(described, made)
    assert graph.digest() != before.digest()
    assert_equal(described, made.eval(), graph)
    assert_on_grid(graph, bits)
    populations = [node for node in graph.populations if not node.name.endswith(".pool")]
    for layer, node in zip(made.populations(), populations, strict=True):
        grid = made.grid(layer)
        reach = sum(  # of every channel: no current lies beyond
            np.abs(p.weight).reshape(len(p.weight), -1).sum(axis=1, dtype=np.int64)
            * graph.largest_sent(p.source)
            for p in node.projections
        )
        t = grid.threshold.detach().numpy().clip(-reach - 1, reach)
        assert (node.threshold == t + 0.5).all()
        for weight, projection in zip(grid.weights, node.projections, strict=True):
            assert (weight.detach().numpy() == projection.weight).all()


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 2**31), st.sampled_from(BITS), st.sampled_from(CASES[::2]), st.integers(1, 3))
def test_the_stage_begins_where_quantisation_without_training_ends(
    seed: int, bits: int, case: tuple[str, RecipeName, tuple[int, int], int], levels: int
) -> None:
    name, recipe, size, hidden = case
    described = networks.experiment(name, recipe, size, width=0.05, hidden=hidden, levels=levels)
    ordinary = networks.network(described, seed).float()
    folded = fold(Trained(ordinary, described, {}, []))
    quantised = to_int8(networks.with_bits(folded, bits))
    made = in_integers(ordinary, bits, described.normalisation).eval()
    graph = exported(described, made)
    assert graph.digest() == quantised.digest()
    assert_equal(described, made, graph)


def test_a_channel_without_weights_is_the_same_in_both() -> None:
    described = networks.experiment()
    made = integer_network(described, 4)
    with torch.no_grad():
        made.populations()[1].synapse.weight[0] = 0
        made.readout.weight[1] = 0
    graph = exported(described, made)
    assert not graph.populations[1].projections[0].weight[0].any()
    assert_equal(described, made.eval(), graph)


def test_float32_weights_of_an_integer_stage_are_its_integers() -> None:
    described = networks.experiment()
    made = integer_network(described, 4).eval()
    graph = to_float32(fold(Trained(made, described, {}, [])))
    for node, other in zip(graph.populations, exported(described, made).populations, strict=True):
        assert (node.threshold == other.threshold).all()
        assert (node.projections[0].weight == other.projections[0].weight).all()
    assert graph.weight_bits == 32


# The command


@pytest.fixture
def described() -> Experiment:
    return networks.experiment(size=(12, 12))


@pytest.fixture
def t1(described: Experiment, tmp_path: Path) -> Path:
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    return tmp_path / "t1.pt"


@pytest.fixture
def int4(described: Experiment, tmp_path: Path) -> Path:
    networks.save(described, integer_network(described, 4), tmp_path / "int4.pt")
    return tmp_path / "int4.pt"


def export(*arguments: object) -> int:
    return run_command("export-snn", lambda: cli.run(cli.parse_args([str(a) for a in arguments])))


@pytest.mark.parametrize("bits", BITS)
def test_an_ordinary_checkpoint_is_rounded_to_the_bits_asked_for(
    t1: Path, bits: int, capsys: pytest.CaptureFixture[str]
) -> None:
    target = t1.with_name("model.onnx")
    assert export(t1, target, "--int-bits", bits, "--format", "json") == 0
    facts, graph = json.loads(capsys.readouterr().out), load_model(target).graph
    assert (facts["weights"], facts["weight_bits"]) == ("int8", bits)
    assert json.loads(graph.provenance)["weight_bits"] == bits
    assert_on_grid(graph, bits)
    assert facts["digest"] == to_int8(networks.with_bits(load(t1).fold(), bits)).digest()
    assert export(t1, target, "--int-bits", bits) == 0
    assert ("int8 that fit" in capsys.readouterr().out) == (bits < 8)


def test_an_integer_checkpoint_says_its_bits_itself(
    int4: Path, described: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    target = int4.with_name("model.onnx")
    assert export(int4, target, "--format", "json") == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    assert export(int4, target, "--int-bits", 4, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["digest"] == digest
    trained = load(int4)
    assert isinstance(trained.network, IntegerNetwork) and trained.bits == 4
    assert_equal(described, trained.network, load_model(target).graph)


def test_int4_weights_are_the_same_network_in_half_the_file(
    t1: Path, int4: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, half = t1.with_name("byte.onnx"), t1.with_name("half.onnx")
    for checkpoint, flags in ((int4, ()), (t1, ("--int-bits", 4))):
        assert export(checkpoint, one, *flags, "--format", "json") == 0
        digest = json.loads(capsys.readouterr().out)["digest"]
        assert export(checkpoint, half, *flags, "--weights", "int4", "--format", "json") == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["digest"], facts["weights"], facts["weight_bits"]) == (digest, "int4", 4)
        weights = sum(layer["weights"] for layer in facts["layers"])
        assert weights // 2 <= one.stat().st_size - half.stat().st_size
    assert export(int4, half, "--weights", "int4") == 0
    assert "int4, two to a byte" in capsys.readouterr().out
    assert load_model(half).graph.packed


def test_bits_that_contradict_are_refused(
    t1: Path, int4: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = t1.with_name("model.onnx")
    for arguments, said in (
        ((int4, target, "--int-bits", 8), f"--int-bits 8: {int4} was trained in 4 bits"),
        (
            (t1, target, "--int-bits", 4, "--weights", "float32"),
            "--weights float32 are none",
        ),
        ((t1, target, "--int-bits", 5), "--int-bits: invalid choice"),
        (
            (t1, target, "--weights", "int4"),
            "--weights int4, but the integers have 8 bits; expected --int-bits 4",
        ),
        (
            (t1, target, "--weights", "int4", "--int-bits", 6),
            "--weights int4, but the integers have 6 bits",
        ),
    ):
        assert export(*arguments) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
    assert not target.exists()


def test_bits_that_no_training_gives_are_refused(described: Experiment, tmp_path: Path) -> None:
    made = networks.network(described)
    networks.save(described, made, tmp_path / "int5.pt", bits=5)
    with pytest.raises(ModelError, match="integers of 5 bits, expected 8, 6 or 4"):
        load(tmp_path / "int5.pt")
