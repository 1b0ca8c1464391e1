from collections.abc import Callable

import networks
import numpy as np
import numpy.typing as npt
import pytest
import torch
from in_memory import in_memory

from snn_export.fold import FoldedNetwork
from snn_export.quantise import to_float32, to_int8
from snn_export.trained import Trained, fold
from snn_export.verify import measure, prove, sent_rates
from snn_runtime import reference
from snn_runtime.backends.ort import OrtBackend
from snn_runtime.errors import VerifyError
from snn_runtime.graph import SpikingGraph
from snn_runtime.reference import Spikes
from snn_train.augment import Augmentation
from snn_train.data import DataSet


def a_trained_network() -> Trained:
    described = networks.experiment("vgg5", size=(12, 12))
    return Trained(networks.network(described).float(), described, {}, [])


def a_data_set(trained: Trained) -> DataSet:
    images = torch.from_numpy(networks.pictures((12, 12), 60))
    labels = torch.arange(60) % 3
    names = trained.experiment.labels
    return DataSet("photos", names, images, labels, images, labels, Augmentation())


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


def test_one_wrong_neuron_is_found_and_named() -> None:
    graph = to_int8(fold(a_trained_network()))
    with pytest.raises(VerifyError, match=r"conv3: 1 neurons differ"):
        prove(graph, LyingBackend(graph, threads=1), None)


def test_accuracy_is_that_of_the_torch_network_and_of_the_engine() -> None:
    trained = a_trained_network()
    data = a_data_set(trained)
    graph = to_int8(fold(trained))
    accuracy = measure(trained, graph, OrtBackend(graph, threads=1), data)
    pixels = in_memory(data.test_images).numpy()
    exact = reference.run(graph, pixels).logits.argmax(1)
    with torch.no_grad():
        logits = trained.network(trained.experiment.normalisation(in_memory(data.test_images)))
    torch_says = logits.argmax(1).numpy()
    labels = data.test_labels.numpy()
    assert accuracy.images == 60
    assert accuracy.exported == (exact == labels).mean()
    assert accuracy.trained == (torch_says == labels).mean()
    assert accuracy.agreement == (exact == torch_says).mean()


def test_rates_are_those_of_the_interpreter() -> None:
    graph = to_int8(fold(a_trained_network()))
    pixels = networks.pictures((12, 12))
    spikes = reference.run(graph, pixels).spikes
    rates = sent_rates(graph, dict(spikes))
    assert rates["conv1"] == spikes["conv1"].mean()
    pooled = spikes["conv1"].reshape(6, -1, 6, 2, 6, 2).max(axis=(3, 5))
    assert rates["conv1.pool"] == pooled.mean()
