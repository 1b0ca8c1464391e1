from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch

from snn_export.quantise import to_int8
from snn_export.trained import Trained, fold, load
from snn_export.unrounded import to_float32
from snn_runtime.errors import ModelError
from snn_runtime.graph import Pool, Population, reference
from snn_train import checkpoint, families
from snn_train.choices import RecipeName
from snn_train.network import SpikingNetwork
from snn_train.pretrained import Pretrained

CASES: list[tuple[str, RecipeName, tuple[int, int], int]] = [
    ("vgg5", "iir-bn", (8, 8), 0),
    ("vgg9", "iir-bn", (19, 33), 16),
    ("vgg9s", "iir-bn", (37, 18), 0),
    ("vgg11", "iir", (32, 32), 16),
    ("vgg16", "iir", (35, 18), 8),
    ("resnet12", "iir-bn", (16, 16), 0),
    ("resnet20", "iir", (17, 24), 0),
]
TORCHVISIONS: list[tuple[str, RecipeName, tuple[int, int], int]] = [
    ("resnet18_bn", "iir-bn", (33, 24), 0),
    ("resnet50_bn", "iir-bn", (32, 32), 0),
]


@pytest.mark.parametrize(
    ("name", "recipe", "size", "hidden", "levels"),
    [*((*case, 1) for case in CASES + TORCHVISIONS), *((*case, 3) for case in CASES[::2])],
)
def test_the_folded_graph_does_what_the_network_does(
    name: str, recipe: RecipeName, size: tuple[int, int], hidden: int, levels: int
) -> None:
    """Layer by layer in float64, wherever the current is not on the threshold itself."""
    described = networks.experiment(name, recipe, size, width=0.06, hidden=hidden, levels=levels)
    made = networks.network(described, seed=5)
    pixels = networks.pictures(size)
    graph = to_float32(fold(Trained(made, described, {}, [])))
    images = described.normalisation(torch.from_numpy(pixels)).double()
    sent, logits = networks.sent_values(made, images)
    ours = reference.run(graph, pixels, keep_currents=True)
    values = {key: spikes.astype(np.float64) for key, spikes in ours.spikes.items()}
    close = 0
    for node in graph.nodes:
        if not isinstance(node, Population):
            values[node.name] = node.compute(values)
            continue
        scale = max(1.0, float(np.abs(ours.currents[node.name]).max()))
        for theta in node.comparands:
            close += int((np.abs(ours.currents[node.name] - theta) < 1e-5 * scale).sum())
    differing = 0
    for layer in made.populations():
        theirs = sent[layer.plan.name].numpy()
        mine = values.get(f"{layer.plan.name}.pool", values[layer.plan.name])
        if layer.plan.pool > 1 and not layer.max_pool:
            mine = mine / layer.plan.pool**2
        differing += int((mine != theirs).sum())
        assert 0.01 < theirs.mean() < 0.99 * levels, (
            "a silent or saturated layer would prove nothing"
        )
    assert differing <= close
    if differing == 0:
        np.testing.assert_allclose(ours.logits, logits.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "recipe", "size", "hidden"), CASES + TORCHVISIONS)
def test_int8_graphs_are_made_of_every_network(
    name: str, recipe: RecipeName, size: tuple[int, int], hidden: int
) -> None:
    described = networks.experiment(name, recipe, size, width=0.06, hidden=hidden)
    folded = fold(Trained(networks.network(described), described, {}, []))
    graph = to_int8(folded)
    assert graph.exact
    assert graph.image.offset == networks.NORMALISATION.offset
    kinds = {node.kind for node in graph.nodes if isinstance(node, Pool)}
    if name.endswith("_bn"):  # windows that overlap: neurons that OR
        assert not kinds and any(node.name == "stem.pool" for node in graph.populations)
    elif name == "vgg9s":  # strides
        assert not kinds
    else:
        assert kinds == ({"sum"} if recipe == "iir" else {"max"})


def test_loading_builds_the_saved_network(tmp_path: Path) -> None:
    described = networks.experiment()
    made = networks.network(described)
    networks.save(described, made, tmp_path / "t1.pt")
    trained = load(tmp_path / "t1.pt")
    assert trained.experiment == described
    for name, tensor in made.state_dict().items():
        assert torch.equal(trained.network.state_dict()[name], tensor.float())


def test_more_than_one_timestep_is_refused(tmp_path: Path) -> None:
    described = networks.experiment()
    networks.save(described, networks.network(described), tmp_path / "t3.pt", timesteps=3)
    with pytest.raises(ModelError, match=r"is at T=3, export needs T=1"):
        load(tmp_path / "t3.pt")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    other = networks.network(networks.experiment("vgg9", size=(16, 16)))
    networks.save(networks.experiment(), other, tmp_path / "t1.pt")
    with pytest.raises(ModelError, match="does not fit together"):
        load(tmp_path / "t1.pt")


def test_a_network_of_former_layers_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its stages had the paper's 3, 4, 6, 3 blocks, resnet34 had one block less."""
    described = networks.experiment("resnet34", width=0.03)
    with monkeypatch.context() as former:
        former.setitem(families.RESNET, "resnet34", (3, 4, 5, 3))
        old = SpikingNetwork(described.architecture, 1)
    networks.save(described, old, tmp_path / "t1.pt")
    says = r"resnet34 has 33 layers, this version's has 35; train it again, or use the version that"
    with pytest.raises(ModelError, match=says):
        load(tmp_path / "t1.pt")
    with pytest.raises(ModelError, match=says):
        Pretrained.load(tmp_path / "t1.pt")


ODD: dict[str, tuple[tuple[str | int, ...], object]] = {
    "a version of numbers": (("version",), torch.zeros(3)),
    "timesteps of numbers": (("timesteps",), torch.zeros(3)),
    "timesteps true": (("timesteps",), True),
    "bits of numbers": (("bits",), torch.zeros(3)),
    "an offset of none": (("input", "offset"), [None, None, None]),
    "an offset of two": (("input", "offset"), [1, 2]),
    "an offset that is no number": (("input", "offset"), [1, 2, float("nan")]),
    "an offset of halves": (("input", "offset"), [1, 2, 0.5]),
    "a deviation of two": (("input", "deviation"), [1.0, 2.0]),
    "a deviation of lists": (("input", "deviation"), [1.0, 2.0, [1]]),
    "a deviation of nothing": (("input", "deviation"), [1.0, 2.0, 0.0]),
    "an input of numbers": (("input",), torch.zeros(0)),
    "another fit": (("input", "fit"), ["crop"]),
    "labels of numbers": (("labels",), [1, 2, 3]),
    "a tensor among settings": (("settings", "percentile"), torch.zeros(3)),
    "an infinite setting": (("settings", "weight_decay"), float("inf")),
    "no history": (("history",), 1.5),
    "a history of text": (("history", 0), "x"),
    "a history without a stage": (("history", 0), {"validation": 0.5}),
    "a tensor in the history": (("history", 0, "test"), torch.zeros(0)),
    "weights that are none": (("network",), 5),
    "weights that are complex": (
        ("network", "readout.weight"), torch.zeros(3, 32, dtype=torch.complex64)
    ),
}  # fmt: skip
"""What no run writes, with a checksum that is right: anybody can make one."""


@pytest.mark.parametrize("case", ODD)
def test_odd_content_is_refused_and_no_bug_of_ours(case: str, tmp_path: Path) -> None:
    path = tmp_path / "t1.pt"
    networks.save(networks.experiment(), networks.network(networks.experiment()), path)
    content = checkpoint.load(path)
    (*outer, last), value = ODD[case]
    part: Any = content
    for key in outer:
        part = part[key]
    part[last] = value
    state = {key: each for key, each in content.items() if key not in ("format", "digest")}
    checkpoint.save(path, state)
    with pytest.raises(ModelError) as refusal:
        load(path)
    assert refusal.value.code == "bad_checkpoint" and str(path) in str(refusal.value)
