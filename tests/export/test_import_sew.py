"""SpikingJelly's own SEW-ResNet-18, with each of its shortcuts: spike for spike."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import networks
import numpy as np
import pytest
import torch
from architectures import functional, layer, neuron
from torch import Tensor, nn

from snn_export.importers import Picture, from_module
from snn_export.parity import compare
from snn_export.quantise import to_int8
from snn_export.unrounded import to_float32
from snn_runtime.engines.event.backend import EventBackend
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError
from snn_runtime.graph import Elementwise, Population, Weightless, reference
from snn_runtime.model_file import read, to_bytes

PICTURE = Picture.of(tuple("abcdefghij"), (32, 32), (0.5,), (0.25,))
IMAGES = networks.pictures((32, 32), 2)


@pytest.fixture
def sew_resnet18(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The function of SpikingJelly, which asks torchvision for a download that is not wanted."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        stub = ModuleType(name)
        stub.load_state_dict_from_url = None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, stub)
    module = pytest.importorskip("spikingjelly.activation_based.model.sew_resnet")
    return module.sew_resnet18


def alive(network: nn.Module) -> nn.Module:
    """Every layer's normalisation as noise leaves it, so that its neurons fire."""
    torch.manual_seed(1)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.randn(16, 3, 32, 32))
    functional.reset_net(network)
    return network.eval()


@pytest.mark.parametrize("kind", ["add", "and", "iand"])
def test_sew_resnet18(sew_resnet18: Any, kind: str) -> None:
    torch.manual_seed(0)
    options = {"num_classes": 10, "spiking_neuron": neuron.IFNode, "v_threshold": 0.2}
    foreign = from_module(alive(sew_resnet18(cnf=kind.upper(), **options)), PICTURE)
    theirs, _ = foreign.run(torch.from_numpy(IMAGES))
    assert len(theirs) == 20
    assert all(0.1 < spikes.mean() < 0.9 for spikes in theirs.values())
    whole = to_float32(foreign.fold())
    parity = compare(foreign, whole, OrtBackend(whole, threads=1), IMAGES)
    assert parity.spikes > 100_000 and parity.running <= 2
    exact = to_int8(foreign.fold())
    assert [n.kind for n in exact.nodes if isinstance(n, Elementwise)] == [kind] * 8
    assert read(to_bytes(exact)).digest() == exact.digest()
    activity = reference.run(exact, IMAGES)
    for engine in (EventBackend(exact, threads=2), OrtBackend(exact, threads=1)):
        for name, spikes in engine.spikes(IMAGES).items():
            np.testing.assert_array_equal(spikes, activity.spikes[name], err_msg=name)
        np.testing.assert_array_equal(engine.run(IMAGES), activity.logits)


class Gated(nn.Module):
    """Two branches of a picture, joined before or after they fire."""

    def __init__(self, join: Callable[["Gated", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.left, self.right = layer.Conv2d(3, 4, 3), layer.Conv2d(3, 4, 3)
        self.sn1, self.sn2 = (neuron.IFNode(v_threshold=0.1) for _ in range(2))
        self.pool = layer.AvgPool2d(2)
        self.join, self.fc = join, layer.Linear(4 * 30 * 30, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.join(self, self.left(x), self.right(x)).flatten(1))
        return logits


def gated(join: Callable[[Gated, Tensor, Tensor], Tensor]) -> list[Weightless]:
    torch.manual_seed(0)
    foreign = from_module(Gated(join), PICTURE)
    graph = to_float32(foreign.fold())
    assert compare(foreign, graph, OrtBackend(graph, threads=1), IMAGES).running == 0
    return [node for node in graph.nodes if not isinstance(node, Population)]


def test_joins_are_told_by_what_is_computed() -> None:
    found = gated(lambda net, x, y: (1 - net.sn1(x)) * net.sn2(y))
    assert found == [Elementwise("mul", "iand", "sn2", "sn1")]

    def many(net: Gated, x: Tensor, y: Tensor) -> Tensor:
        left, right = net.sn1(x), net.sn2(y)
        total: Tensor = left * right + left + right
        return total

    assert gated(many) == [
        Elementwise("mul", "and", "sn1", "sn2"),
        Elementwise("add", "add", "mul", "sn1"),
        Elementwise("add_1", "add", "add", "sn2"),
    ]


@pytest.mark.parametrize(
    "join",
    [
        lambda net, x, y: net.sn1(x * y),
        lambda net, x, y: (1 - net.sn1(x)) * (1 - net.sn2(y)),
        lambda net, x, y: (lambda a, b: (a + b) * b)(net.sn1(x), net.sn2(y)),
        lambda net, x, y: net.sn1(x) * (2 - net.sn2(y)),
    ],
    ids=["currents", "both inverted", "counts", "two less"],
)
def test_products_of_other_than_spikes_are_refused(join: Any) -> None:
    with pytest.raises(ModelError, match="only spikes can be"):
        gated(join)
