from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import networks
import numpy as np
import numpy.typing as npt
import pytest
import torch
from graphs import example_of_levels, pictures
from in_memory import in_memory

from snn_export import export, report
from snn_export.fold import FoldedNetwork, Neurons
from snn_export.quantise import to_int8
from snn_export.recalibrate import recalibrate
from snn_export.text import text
from snn_export.trained import Trained, fold
from snn_export.unrounded import to_float32
from snn_export.verify import Proof, measure, prove, received, sent_rates
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import InputError, VerifyError
from snn_runtime.graph import SpikingGraph, reference
from snn_runtime.graph.reference import Spikes
from snn_train.data import DataSet


def a_trained_network() -> Trained:
    described = networks.experiment("vgg5", size=(12, 12))
    return Trained(networks.network(described).float(), described, {}, [])


def a_data_set(trained: Trained) -> DataSet:
    images = torch.from_numpy(networks.pictures((12, 12), 60))
    labels = torch.arange(60) % 3
    names = trained.experiment.labels
    return DataSet("photos", names, images, labels, images, labels)


class LyingBackend(OrtBackend):
    """A real engine with one neuron out of order."""

    def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
        spikes = {name: fired.astype(np.bool_) for name, fired in super().spikes(images).items()}
        last = list(spikes)[-1]
        spikes[last][-1].flat[-1] ^= True
        return dict(spikes)


@pytest.mark.parametrize("lower", [to_int8, to_float32])
def test_a_right_engine_is_proven(lower: Callable[[FoldedNetwork], SpikingGraph]) -> None:
    trained = a_trained_network()
    graph = lower(fold(trained))
    proof = prove(graph, OrtBackend(graph, threads=1), a_data_set(trained))
    neurons = sum(int(np.prod(graph.shapes[node.name])) for node in graph.populations)
    assert proof.images > 16
    assert proof.spikes == proof.images * neurons


@pytest.mark.parametrize("name", ["vgg9", "resnet12", "resnet18_bn"])  # pools, shortcuts, overlaps
@pytest.mark.parametrize("lower", [to_int8, to_float32])
def test_the_spike_rate_of_a_graph_is_the_trained_networks(
    name: str, lower: Callable[[FoldedNetwork], SpikingGraph]
) -> None:
    described = networks.experiment(name, size=(33, 24), width=0.06)
    made = Trained(networks.network(described).float(), described, {}, [])
    graph = lower(fold(made))
    rng = np.random.default_rng(5)
    rates = {node.name: float(rng.random()) for node in graph.nodes}
    layers = [layer.plan.name for layer in made.network.populations()]
    behind_pools = {layer: rates.get(f"{layer}.pool", rates[layer]) for layer in layers}
    assert received(graph, rates) == pytest.approx(made.network.spike_rate(behind_pools))


def test_one_wrong_neuron_is_found_and_named() -> None:
    graph = to_int8(fold(a_trained_network()))
    with pytest.raises(VerifyError, match=r"conv3: 1 neurons differ"):
        prove(graph, LyingBackend(graph, threads=1), None)


@pytest.mark.parametrize("lower", [to_int8, to_float32])
def test_wrong_logits_are_found(lower: Callable[[FoldedNetwork], SpikingGraph]) -> None:
    class Turned(OrtBackend):
        def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return -super().run(images)

    graph = lower(fold(a_trained_network()))
    with pytest.raises(VerifyError, match=r"logits: the engine's do not follow"):
        prove(graph, Turned(graph, threads=1), None)


@pytest.mark.parametrize("current", [-1.0, 1.0], ids=["never", "always"])
def test_layers_that_do_not_heed_the_picture_are_named(current: float) -> None:
    """The proof holds for them too, so it is said, by name; the exit code stays 0."""
    trained = a_trained_network()
    folded = fold(trained)
    stuck = tuple(
        replace(node, threshold=node.threshold * 0 - current * 1e4)
        if isinstance(node, Neurons) and node.name in ("conv2", "conv3")
        else node
        for node in folded.nodes
    )
    graph = to_int8(replace(folded, nodes=stuck))
    proof = prove(graph, OrtBackend(graph, threads=1), None)
    how = "never" if current < 0 else "always"
    facts = report.summary(graph, 1, proof, None, None, narrowed={})["proof"]
    assert facts[how][:2] == ("conv2", "conv3")
    says = {"never": "no neuron ever fires in", "always": "every neuron fires in"}[how]
    assert f"warning: {says} conv2, conv3" in said_of(trained, graph, proof)


def test_layers_that_heed_the_picture_give_no_warning() -> None:
    trained = a_trained_network()
    graph = to_int8(fold(trained))
    proof = prove(graph, OrtBackend(graph, threads=1), a_data_set(trained))
    assert (proof.never, proof.always) == ((), ())
    assert "warning" not in said_of(trained, graph, proof)


def said_of(trained: Trained, graph: SpikingGraph, proof: Proof) -> str:
    return text(report.summary(graph, 1, proof, None, None, narrowed={}), "m.onnx", graph)


def test_accuracy_is_that_of_the_torch_network_and_of_the_engine() -> None:
    trained = a_trained_network()
    data = a_data_set(trained)
    graph = to_int8(fold(trained))
    accuracy, kept = measure(trained, graph, OrtBackend(graph, threads=1), data)
    pixels = in_memory(data.test_images).numpy()
    exact = reference.run(graph, pixels).logits.argmax(1)
    with torch.no_grad():
        logits = trained.network(trained.experiment.normalisation(in_memory(data.test_images)))
    torch_says = logits.argmax(1).numpy()
    labels = data.test_labels.numpy()
    np.testing.assert_array_equal(kept, reference.run(graph, pixels).logits)
    assert accuracy.images == 60
    assert accuracy.exported == (exact == labels).mean()
    assert accuracy.trained == (torch_says == labels).mean()
    assert accuracy.agreement == (exact == torch_says).mean()


def test_every_spike_of_a_neuron_counts() -> None:
    graph = example_of_levels()
    spikes = reference.run(graph, pictures(graph.image, 3)).spikes
    rates = sent_rates(graph, {**spikes})
    assert rates["conv1"] == spikes["conv1"].mean()
    most = spikes["conv2"].reshape(3, 4, 4, 2, 4, 2).max(axis=(3, 5))
    assert most.max() == 3 and rates["pool2"] == most.mean()
    assert rates["both"] == ((spikes["conv1"] + spikes["conv2"]) != 0).mean()


def test_rates_are_those_of_the_interpreter() -> None:
    graph = to_int8(fold(a_trained_network()))
    pixels = networks.pictures((12, 12))
    spikes = reference.run(graph, pixels).spikes
    rates = sent_rates(graph, dict(spikes))
    assert rates["conv1"] == spikes["conv1"].mean()
    pooled = spikes["conv1"].reshape(6, -1, 6, 2, 6, 2).max(axis=(3, 5))
    assert rates["conv1.pool"] == pooled.mean()


def test_a_data_set_is_checked_as_its_name_would_be(tmp_path: Path) -> None:
    """Labels in another order would fit probabilities on wrong classes."""
    trained = a_trained_network()
    good = a_data_set(trained)
    labels, images, answers = good.labels, good.test_images, good.test_labels
    assert isinstance(images, torch.Tensor)
    wrong = [
        (replace(good, labels=labels[::-1]), "its class 0 is"),
        (replace(good, labels=(*labels, "more")), "has 4 classes, the network 3"),
        (replace(good, test_images=images[:, :9, :9]), "test pictures are not 12x12"),
        (replace(good, train_images=images[:, :9, :9]), "training pictures are not 12x12"),
        (replace(good, test_images=images[:0], test_labels=answers[:0]), "has no test pictures"),
        (replace(good, test_labels=answers[1:]), "60 test pictures for 59 labels"),
        (replace(good, held_out=torch.zeros(0, dtype=torch.int64)), "is left to fit"),
    ]
    for data, says in wrong:
        with pytest.raises(InputError, match=f"^photos: .*{says}"):
            export(trained, tmp_path / "m.onnx", data=data, threads=1)
        assert not (tmp_path / "m.onnx").exists()
    export(trained, tmp_path / "m.onnx", data=good, threads=1)
    before = (tmp_path / "m.onnx").read_bytes()
    for data, says in wrong:
        if "left to fit" not in says:
            with pytest.raises(InputError, match=says):
                recalibrate(tmp_path / "m.onnx", tmp_path / "m.onnx", data, threads=1)
    assert (tmp_path / "m.onnx").read_bytes() == before
