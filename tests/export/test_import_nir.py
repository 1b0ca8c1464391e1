"""NIR: graphs written by hand, by snnTorch and by SpikingJelly, read back and compared."""

import json
import sys
from pathlib import Path
from typing import Any

import architectures
import commands
import h5py
import networks
import nir
import numpy as np
import pytest
import snntorch
import torch
from architectures import functional, layer, neuron
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch.export_nir import export_to_nir as snntorch_to_nir
from torch import nn

from snn_export import cli, importers
from snn_export.importers import Foreign, Picture, detect, nir_file, nir_graphs
from snn_export.importers.picture import Picture as Described
from snn_export.layerwise import differing
from snn_export.parity import compare
from snn_export.quantise import to_int8
from snn_export.unrounded import to_float32
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError
from snn_runtime.graph import reference

spikingjelly = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
LABELS = ("a", "b", "c", "d")
FLAGS = ("--labels", "a,b,c,d", "--mean", "0.5", "--std", "0.25")


def picture(size: tuple[int, int] = (12, 12)) -> Picture:
    return Picture.of(LABELS, size, (0.5,), (0.25,))


def read(path: Path, described: Picture, timestep: float | None = None) -> Foreign:
    return importers.load("nir", path, importers.contents("nir", path), described, None, timestep)


def lif(shape: tuple[int, ...], rng: np.random.Generator, **changes: Any) -> nir.LIF:
    """With a resting membrane, a resistance and a time constant of its own for each channel."""
    wide = (shape[0], *[1] * (len(shape) - 1))
    values = {
        "tau": rng.uniform(2e-4, 1e-3, wide),
        "r": rng.uniform(0.5, 5, wide),
        "v_leak": rng.uniform(-0.1, 0.1, wide),
        "v_threshold": rng.uniform(0.2, 0.4, wide),
        "v_reset": np.zeros(wide),
    } | changes
    return nir.LIF(**{key: np.broadcast_to(v, shape).copy() for key, v in values.items()})


def conv(rng: np.random.Generator, out: int, inputs: int, size: int | None = None) -> nir.Conv2d:
    return nir.Conv2d(
        input_shape=None if size is None else (size, size),
        weight=rng.normal(0, 1, (out, inputs, 3, 3)), stride=1, padding=1, dilation=1, groups=1,
        bias=rng.normal(0, 0.1, out),
    )  # fmt: skip


def chain(*nodes: tuple[str, nir.NIRNode]) -> nir.NIRGraph:
    names = [name for name, _ in nodes]
    edges = list(zip(names, names[1:], strict=False))
    return nir.NIRGraph(nodes=dict(nodes), edges=edges, type_check=False)


def a_graph(seed: int = 0, *, spiking_end: bool = False, shortcut: bool = False) -> nir.NIRGraph:
    """Every node that is known, in one network."""
    rng = np.random.default_rng(seed)
    pools = {
        "kernel_size": np.array([2, 2]),
        "stride": np.array([2, 2]),
        "padding": np.zeros(2, int),
    }
    nodes: list[tuple[str, nir.NIRNode]] = [
        ("in", nir.Input(np.array([3, 12, 12]))),
        ("conv 1", conv(rng, 4, 3, 12)),
        ("lif:1", lif((4, 12, 12), rng)),
        ("sum", nir.SumPool2d(**pools)),
        ("conv2", conv(rng, 4, 4, 6)),
        ("if", nir.IF(r=np.full((4, 6, 6), 1e4), v_threshold=np.full((4, 6, 6), 0.5),
                      v_reset=np.full((4, 6, 6), -0.1))),
        ("avg", nir.AvgPool2d(**pools)),
        ("flat", nir.Flatten(np.array([4, 3, 3]), start_dim=0)),
        ("affine", nir.Affine(rng.normal(0, 1, (9, 36)), rng.normal(0, 0.1, 9))),
        ("threshold", nir.Threshold(np.full(9, 0.3))),
        ("linear", nir.Linear(rng.normal(0, 1, (4, 9)))),
    ]  # fmt: skip
    if spiking_end:
        nodes.append(("last", lif((4,), rng)))
    graph = chain(*nodes, ("out", nir.Output(np.array([4]))))
    if shortcut:
        graph.edges.append(("sum", "if"))
    return graph


def by_the_equations(graph: nir.NIRGraph, images: torch.Tensor) -> dict[str, Any]:
    """A graph's spikes from NIR's own differential equations, one step of 1e-4, in float64."""
    sent: dict[str, Any] = {"in": images.double()}
    order = [name for name in graph.nodes if name not in ("in", "out")]
    for name in order:
        node = graph.nodes[name]
        x = sum(sent[a] for a, b in graph.edges if b == name)
        if isinstance(node, nir.LIF):
            v = node.v_leak + 1e-4 * ((node.v_leak - node.v_leak) + node.r * x.numpy()) / node.tau
            sent[name] = torch.from_numpy((v > node.v_threshold).astype(float))
        elif isinstance(node, nir.IF):
            sent[name] = ((node.v_reset + 1e-4 * node.r * x.numpy()) > node.v_threshold).astype(
                float
            )
            sent[name] = torch.from_numpy(sent[name])
        elif isinstance(node, nir.Threshold):
            sent[name] = torch.from_numpy((x.numpy() > node.threshold).astype(float))
        elif isinstance(node, nir.Conv2d):
            weight, bias = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
            sent[name] = torch.nn.functional.conv2d(x, weight, bias, padding=1)
        elif isinstance(node, nir.SumPool2d):
            sent[name] = torch.nn.functional.avg_pool2d(x, 2) * 4
        elif isinstance(node, nir.AvgPool2d):
            sent[name] = torch.nn.functional.avg_pool2d(x, 2)
        elif isinstance(node, nir.Flatten):
            sent[name] = x.flatten(1)
        else:
            sent[name] = x @ torch.from_numpy(node.weight).T + torch.as_tensor(
                getattr(node, "bias", 0.0)
            )
    return sent


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20), spiking_end=st.booleans(), shortcut=st.booleans())
def test_one_step_is_that_of_the_equations(seed: int, spiking_end: bool, shortcut: bool) -> None:
    graph = a_graph(seed, spiking_end=spiking_end, shortcut=shortcut)
    foreign = nir_graphs.from_graph(graph, picture())
    images = networks.pictures((12, 12), 4)
    sent = by_the_equations(graph, picture().tensor(torch.from_numpy(images), 3))
    theirs = {w.layer: sent[w.layer].numpy() != 0 for w in foreign.lowered.watched}
    assert set(theirs) == {"lif:1", "if", "threshold"}
    for layer_name, difference in differing(
        foreign, to_float32(foreign.fold()), images, theirs
    ).items():
        assert difference.unexplained == 0, layer_name
    for lower in (to_float32, to_int8):
        exported = lower(foreign.fold())
        compare(foreign, exported, OrtBackend(exported, threads=1), images)


def test_a_file_reads_back_and_is_told_by_its_signature(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.bin", a_graph())
    assert detect(tmp_path / "net.bin", None) == "nir"
    assert nir_graphs.input_size(nir_file.read(tmp_path / "net.bin")) == (12, 12)
    loaded = to_int8(read(tmp_path / "net.bin", picture()).fold())
    made = to_int8(nir_graphs.from_graph(a_graph(), picture()).fold())
    assert loaded.digest() == made.digest()
    assert [node.name for node in loaded.populations] == ["lif_1", "if", "threshold"]


def snntorch_network() -> nn.Module:
    """snnTorch writes β and θ as they are, and nir wants them of the layer's shape."""
    torch.manual_seed(2)

    def leaky(beta: float, threshold: float, *shape: int) -> Any:
        full = torch.ones(shape)
        return snntorch.Leaky(beta * full, threshold=threshold * full, init_hidden=True)

    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), leaky(0.9, 0.3, 4, 12, 12), nn.AvgPool2d(2),
        nn.Conv2d(4, 4, 3, bias=False), leaky(0.5, 0.1, 4, 4, 4), nn.Flatten(), nn.Linear(64, 4),
        leaky(0.9, 1.0, 4),
    ).eval()  # fmt: skip


def spikingjelly_network() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(
        layer.Conv2d(3, 4, 3, padding=1), neuron.LIFNode(tau=2.5, v_threshold=0.3),
        layer.AvgPool2d(2), layer.Conv2d(4, 4, 3, bias=False),
        neuron.LIFNode(tau=3.0, decay_input=False, v_threshold=0.2, v_reset=-0.1), layer.Flatten(),
        layer.Linear(64, 8), neuron.IFNode(v_threshold=0.2, v_reset=0.1), layer.Linear(8, 4),
    ).eval()  # fmt: skip


def exported_by(framework: str, path: Path) -> nn.Module:
    """Let a framework write its network as NIR."""
    example = torch.rand(1, 3, 12, 12)
    if framework == "snntorch":
        network = snntorch_network()
        with pytest.warns(DeprecationWarning, match="extract_nir_graph"):
            graph = snntorch_to_nir(network, example, ignore_dims=[0])
        for part in network.children():
            if isinstance(part, snntorch.SpikingNeuron):
                part.reset_mem()
    else:
        network = spikingjelly_network()
        graph = spikingjelly.export_to_nir(network, example)
        functional.reset_net(network)
    nir.write(path, graph)
    return network


def test_dilation_scales_and_any_windows_of_currents_are_exact() -> None:
    """Against torch: weights with gaps, a factor a channel, a mean over windows that overlap."""
    rng = np.random.default_rng(4)
    weight, factor = rng.normal(0, 1, (4, 3, 3, 3)), rng.uniform(0.5, 2, (4, 1, 1))
    window = {
        "kernel_size": np.array([3, 2]),
        "stride": np.array([2, 2]),
        "padding": np.zeros(2, int),
    }
    graph = chain(
        ("in", nir.Input(np.array([3, 12, 12]))),
        ("conv", nir.Conv2d((12, 12), weight, 1, 2, 2, 1, np.zeros(4))),
        ("scale", nir.Scale(np.broadcast_to(factor, (4, 12, 12)).copy())),
        ("mean", nir.AvgPool2d(**window)),
        ("lif", lif((4, 5, 6), rng, v_leak=np.zeros((4, 1, 1)))),
        ("flat", nir.Flatten(np.array([4, 5, 6]), start_dim=0)),
        ("linear", nir.Linear(rng.normal(0, 1, (4, 120)))),
        ("out", nir.Output(np.array([4]))),
    )  # fmt: skip
    foreign = nir_graphs.from_graph(graph, picture())
    images = networks.pictures((12, 12), 6)
    x = picture().tensor(torch.from_numpy(images), 3).double()
    current = torch.nn.functional.conv2d(x, torch.from_numpy(weight), padding=2, dilation=2)
    mean = torch.nn.functional.avg_pool2d(current * torch.from_numpy(factor), (3, 2), 2).numpy()
    node = graph.nodes["lif"]
    theirs = {"lif": 1e-4 / node.tau * node.r * mean > node.v_threshold}
    (found,) = differing(foreign, to_float32(foreign.fold()), images, theirs).values()
    assert found.unexplained == 0 and 0 < theirs["lif"].mean() < 1
    compare(foreign, to_float32(foreign.fold()), OrtBackend(to_float32(foreign.fold())), images)


def spikes_of(network: nn.Module, images: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    found: list[np.ndarray[Any, Any]] = []

    def record(_: nn.Module, __: Any, output: Any) -> None:
        fired = output[0] if isinstance(output, tuple) else output
        found.append(fired.numpy() != 0)

    for part in network.children():
        if isinstance(part, snntorch.SpikingNeuron | neuron.BaseNode):
            part.register_forward_hook(record)
    with torch.no_grad():
        network(images)
    return found


@pytest.mark.parametrize("framework", ["snntorch", "spikingjelly"])
def test_what_a_framework_writes_fires_as_the_framework(framework: str, tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    network = exported_by(framework, path)
    foreign = read(path, picture())
    images = networks.pictures((12, 12), 6)
    spikes = spikes_of(network, picture().tensor(torch.from_numpy(images), 3))
    watched = [w.layer for w in foreign.lowered.watched]
    theirs = dict(zip(watched, spikes, strict=False))
    for name, difference in differing(foreign, to_float32(foreign.fold()), images, theirs).items():
        assert difference.unexplained == 0, name
    assert all(0 < theirs[name].mean() < 1 for name in watched)


def test_spikingjelly_reads_the_same_spikes_from_its_file(tmp_path: Path) -> None:
    """Their importer, through nirtorch, against ours."""
    exported_by("spikingjelly", tmp_path / "net.nir")
    foreign = read(tmp_path / "net.nir", picture())
    images = networks.pictures((12, 12), 6)
    theirs = spikingjelly.import_from_nir(tmp_path / "net.nir")
    answer: Any = theirs(picture().tensor(torch.from_numpy(images), 3))
    logits = answer[0] if isinstance(answer, tuple) else answer
    ours = foreign.logits(torch.from_numpy(images))
    np.testing.assert_allclose(logits.detach(), ours, rtol=1e-4, atol=1e-4)


def test_equality_stays_silent_in_nir() -> None:
    """Even for a graph that SpikingJelly wrote, whose own neurons fire there."""
    network = architectures.on_the_threshold(architectures.SPIKINGJELLY)
    graph = spikingjelly.export_to_nir(network, torch.zeros(1, 3, 4, 4), dt=1e-4)
    grey = Described(LABELS, 4, 4, (0.0,) * 3, (1.0,) * 3)
    images = np.random.default_rng(0).choice(np.array([99, 100, 101], np.uint8), (16, 4, 4, 3))
    spikes = reference.run(to_float32(nir_graphs.from_graph(graph, grey).fold()), images).spikes
    first = next(iter(spikes.values()))
    assert (first[:, 0] == (images[..., 0] > 100)).all()


def changed(name: str, **values: Any) -> nir.NIRGraph:
    """A node with what no framework writes, as damage or a mistake by hand makes it."""
    graph = a_graph()
    for what, value in values.items():
        setattr(graph.nodes[name], what, value)
    return graph


def without(graph: nir.NIRGraph, *edges: tuple[str, str]) -> nir.NIRGraph:
    graph.edges[:] = [edge for edge in graph.edges if edge not in edges]
    return graph


def swapped(name: str, node: nir.NIRNode) -> nir.NIRGraph:
    graph = a_graph()
    graph.nodes[name] = node
    return graph


def recurrent() -> nir.NIRGraph:
    graph = a_graph()
    graph.edges.append(("if", "conv2"))
    return graph


def two_inputs() -> nir.NIRGraph:
    graph = a_graph()
    graph.nodes["in2"] = nir.Input(np.array([3, 12, 12]))
    return graph


RNG = np.random.default_rng(7)
POOL = {"kernel_size": np.array([3, 3]), "stride": np.array([2, 2]), "padding": np.zeros(2, int)}
NINE = np.ones(9)
REFUSED: dict[str, tuple[Any, str]] = {
    "recurrent": (recurrent, "the graph is recurrent"),
    "two inputs": (two_inputs, "input: the graph has 2, expected one"),
    "overlapping": (
        lambda: swapped("sum", nir.SumPool2d(**POOL)),
        "conv2: weights follow sum, a mean or sum of spikes in windows that do not tile the map",
    ),
    "synaptic": (
        lambda: swapped("threshold", nir.CubaLIF(*[NINE] * 5)),
        "threshold: CubaLIF is not among the NIR nodes",
    ),
    "leaky integrator": (lambda: swapped("threshold", nir.LI(*[NINE] * 3)), "threshold: LI is not"),
    "scale": (
        lambda: swapped("flat", nir.Scale(np.arange(1.0, 37).reshape(4, 3, 3))),
        "flat: factor differs within a channel",
    ),
    "delay": (lambda: swapped("flat", nir.Delay(np.ones((4, 3, 3)))), "flat: Delay is not among"),
    "subgraph": (lambda: swapped("if", a_graph()), "if: NIRGraph is not among"),
    "silent weights": (
        lambda: swapped("lif:1", nir.Affine(np.eye(3), np.zeros(3))),
        "lif:1: weights follow weights",
    ),
    "threshold": (
        lambda: swapped("threshold", nir.Threshold(-NINE)),
        "threshold: threshold -1 is not positive",
    ),
    "per pixel": (
        lambda: swapped("if", nir.IF(np.ones((4, 6, 6)), RNG.uniform(1, 2, (4, 6, 6)))),
        "if: threshold differs within a channel",
    ),
    **{
        f"{name} {what} {value!r:.12}": (
            lambda name=name, what=what, value=value: changed(name, **{what: value}),
            f"{name}: {says}",
        )
        for name, what, value, says in (
            ("conv2", "bias", np.zeros(3), "biases of shape (3,) for weights (4, 4, 3, 3)"),
            ("conv2", "bias", np.zeros(()), "biases of shape () for"),
            ("affine", "bias", np.zeros(0), "biases of shape (0,) for"),
            ("conv2", "stride", 0, "stride is 0, expected one or two whole numbers, 1 or more"),
            ("conv2", "stride", np.array([1, 2, 1]), "stride is array([1, 2, 1]), expected"),
            ("conv2", "dilation", np.array([1, 0]), "dilation is array([1, 0]), expected"),
            ("conv2", "padding", np.array([-1, 0]), "padding is array([-1,  0]), expected"),
            ("conv2", "padding", 0.5, "padding is 0.5, expected one or two whole numbers, 0"),
            ("conv2", "groups", 0, "groups is 0, expected"),
            ("conv2", "groups", np.array([1, 2]), "groups is (1, 2), expected one number"),
            ("conv2", "weight", np.ones((4, 4, 3)), "weights have shape (4, 4, 3), expected four"),
            ("conv2", "weight", np.ones((0, 4, 3, 3)), "biases of shape (4,) for weights (0, 4"),
            ("conv2", "weight", np.ones((4, 4, 3, 3), complex), "weights: no real numbers"),
            ("linear", "weight", np.ones((0, 9)), "weights of shape (0, 9) are empty"),
            ("sum", "stride", np.zeros(2), "stride is array([0., 0.]), expected"),
            ("lif:1", "tau", np.zeros((4, 12, 12)), "tau is 0, expected above 0"),
            ("lif:1", "tau", np.ones((3, 12, 12)), "tau of shape (3, 12, 12) with r of shape"),
            ("lif:1", "v_threshold", np.array(np.nan), "v_threshold: a number is not finite"),
        )
    },
    "lost edge": (lambda: without(a_graph(), ("in", "conv 1")), "reads nothing that comes from"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_one_step_cannot_express_is_refused_by_name(case: str) -> None:
    make, says = REFUSED[case]
    with pytest.raises(ModelError) as refusal:
        nir_graphs.from_graph(make(), picture())
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_damaged_files_and_files_that_point_elsewhere_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nir_file, "MOST", 40)
    nir.write(tmp_path / "net.nir", a_graph())
    whole = (tmp_path / "net.nir").read_bytes()
    (tmp_path / "cut.nir").write_bytes(whole[: len(whole) // 2])
    with h5py.File(tmp_path / "link.nir", "w") as file:
        file["node"] = h5py.ExternalLink(str(tmp_path / "net.nir"), "node")
    with h5py.File(tmp_path / "large.nir", "w") as file:
        file.create_dataset("node/weight", shape=(2**34,), dtype="f8", chunks=(2**16,))
    with h5py.File(tmp_path / "empty.nir", "w") as file:  # a chunk for each of its zeros, packed
        file.create_dataset("node/weight", shape=(2**24,), dtype="f8", chunks=(2**16,))
    with h5py.File(tmp_path / "many.nir", "w") as file:
        for number in range(41):
            file.create_group(str(number))
    with h5py.File(tmp_path / "deep.nir", "w") as file:
        group = file.create_group("node")
        group["again"] = group
    with h5py.File(tmp_path / "other.nir", "w") as file:
        file["node/type"] = b"Teapot"
    cases = {"cut": "is no NIR graph", "link": "is a link", "large": "limit is",
             "empty": "limit is 67,108,864", "many": "more than 40 groups and arrays",
             "deep": "deeper", "other": "is no NIR graph"}  # fmt: skip
    for name, says in cases.items():
        with pytest.raises(ModelError, match=says) as refusal:
            read(tmp_path / f"{name}.nir", picture())
        assert "\n" not in str(refusal.value)


def test_without_its_package_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nir.write(tmp_path / "net.nir", a_graph())
    monkeypatch.setitem(sys.modules, "nir", None)
    code, error = commands.refusal([tmp_path / "net.nir", tmp_path / "m.onnx", *FLAGS])
    assert code == 6 and "pip install nir" in error


def test_the_command_takes_the_size_from_the_file(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", a_graph(spiking_end=True))
    done = commands.export(tmp_path, "net.nir", "model.onnx", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert "against the layers as read (a file of nir holds no program" in done.stdout
    assert "one Euler step of 0.0001 s" in done.stdout
    assert "the last neurons, last, became the readout" in done.stdout
    assert commands.load(tmp_path / "model.onnx").graph.image.height == 12


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_graph_whose_layers_never_fire_is_warned_of(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step a thousandth as long as the exporter's: proven, and of no use. Exit code 0."""
    graph = a_graph()
    graph.nodes["threshold"] = nir.Threshold(np.full(9, 100.0))
    nir.write(tmp_path / "net.nir", graph)
    given = [str(tmp_path / "net.nir"), str(tmp_path / "m.onnx"), *FLAGS, "--dt", "1e-7"]
    assert cli.run(cli.parse_args([*given, "--format", form])) == 0
    said = capsys.readouterr().out
    if form == "text":
        assert "warning: no neuron ever fires in lif_1, if, threshold on the proof's 8" in said
        assert said.count("are --mean, --std, --dt right?") == 1
    else:
        proof = json.loads(said)["proof"]
        assert proof["never"] == ["lif_1", "if", "threshold"] and proof["always"] == []


def test_the_step_is_that_of_the_flag(tmp_path: Path) -> None:
    """Ten times the step is ten times the membrane: other thresholds."""
    nir.write(tmp_path / "net.nir", a_graph())
    weights = []
    for step in (1e-4, 1e-3):
        folded = read(tmp_path / "net.nir", picture(), step).fold()
        weights.append(next(n for n in folded.nodes if hasattr(n, "synapses")).synapses[0].weight)
    np.testing.assert_allclose(10 * weights[0], weights[1])
    code, error = commands.refusal([tmp_path / "net.nir", tmp_path / "m.onnx", *FLAGS, "--dt", "0"])
    assert code == 2 and "is not a number of seconds above 0" in error
