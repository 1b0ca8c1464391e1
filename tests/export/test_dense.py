"""export-snn --dense: a run's ANN as an ordinary INT8 file, against the network in torch."""

from pathlib import Path
from typing import Any

import commands
import networks
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image

from snn_export import cli, dense
from snn_export.dense import export_dense, multiply_adds, relu_network
from snn_export.trained import Trained, load, synapse
from snn_runtime.errors import ModelError, VerifyError
from snn_runtime.model_file import read
from snn_runtime.model_file.dense import DenseFile, describe, read_dense
from snn_runtime.onnx_build import ModelProto
from snn_train.choices import RecipeName
from snn_train.data import DataSet
from snn_train.experiment import Experiment
from snn_train.network import BatchNorm, SpikingNetwork

SIZE = (12, 12)
CASES: list[tuple[str, RecipeName, tuple[int, int], int]] = [
    ("vgg9", "iir-bn", (19, 33), 16),
    ("vgg11", "iir", (32, 32), 16),
    ("resnet12", "iir-bn", (32, 16), 0),
    ("resnet20", "iir", (17, 24), 0),
    ("resnet18_bn", "iir-bn", (33, 24), 0),
    ("resnet50_bn", "iir-bn", (32, 32), 0),
]


def ann(described: Experiment, seed: int = 0) -> SpikingNetwork:
    """An ANN whose normalisations have seen pictures, with shifts unlike a fresh one's."""
    torch.manual_seed(seed)
    made = SpikingNetwork(described.architecture, 0)
    for module in made.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 1.0  # so that one batch sets the running statistics
            torch.nn.init.normal_(module.shift, 0, 0.2)
            if module.gain is not None:
                torch.nn.init.normal_(module.gain, 0.5, 0.5)  # of either sign
    made.train()(described.normalisation(torch.from_numpy(networks.pictures(described.size, 32))))
    return made.eval()


def trained(network: str = "vgg5", recipe: RecipeName = "iir-bn", **given: int) -> Trained:
    described = networks.experiment(network, recipe, SIZE, **given)
    return Trained(ann(described), described, {}, [])


def pictures(labels: tuple[str, ...] = ("cat", "dog", "frog")) -> DataSet:
    images = torch.from_numpy(networks.pictures(SIZE, 60, seed=4))
    answers = torch.arange(60) % 3
    return DataSet("photos", labels, images, answers, images, answers)


def answers(model: ModelProto | Path, inputs: np.ndarray) -> np.ndarray:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = ort.InferenceSession(source, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    described = networks.experiment("vgg5", size=SIZE)
    networks.save(described, ann(described), tmp_path / "ann.pt", timesteps=0)
    return tmp_path / "ann.pt"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index, pixels in enumerate(networks.pictures(SIZE, 30)):
        for part in ("train", "test"):
            folder = tmp_path / "photos" / part / ("cat", "dog", "frog")[index % 3]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "photos"


def products(network: SpikingNetwork) -> int:
    """Ones convolved with ones count the products that padding is no part of."""
    architecture = network.architecture
    sizes = {"image": (architecture.image_height, architecture.image_width)}
    total = network.readout.weight.numel()
    for layer in network.populations():
        plan = layer.plan
        for module, source in ((layer.synapse, plan.source), (layer.shortcut, plan.shortcut)):
            if isinstance(module, torch.nn.Linear):
                total += module.weight.numel()
            elif module is not None:
                ones = torch.ones(1, module.in_channels, *sizes[source])
                kernel = torch.ones_like(module.weight)
                counted = torch.conv2d(ones, kernel, None, module.stride, module.padding)
                total += int(counted.double().sum())
        height, width = plan.height + plan.overlap, plan.width + plan.overlap
        sizes[plan.name] = (height // plan.pool, width // plan.pool)
    return total


@pytest.mark.parametrize(("name", "recipe", "size", "hidden"), CASES)
def test_multiply_adds_leave_padding_out(
    name: str, recipe: RecipeName, size: tuple[int, int], hidden: int
) -> None:
    described = networks.experiment(name, recipe, size, width=0.08, hidden=hidden)
    network = ann(described)
    model = relu_network(Trained(network, described, {}, []))
    padded = sum(m for layer in network.populations() for _, m in layer.plan.costs())
    assert multiply_adds(model) == products(network) < padded


@pytest.mark.parametrize(("name", "recipe", "size", "hidden"), CASES)
def test_the_float_network_computes_what_torch_does(
    name: str, recipe: RecipeName, size: tuple[int, int], hidden: int
) -> None:
    described = networks.experiment(name, recipe, size, width=0.08, hidden=hidden)
    network = ann(described, seed=3)
    model = relu_network(Trained(network, described, {}, []))
    onnx.checker.check_model(model, full_check=True)
    images = described.normalisation(torch.from_numpy(networks.pictures(size, seed=7)))
    with torch.no_grad():
        theirs = network(images).numpy()
    ours = answers(model, images.contiguous().numpy())
    assert theirs.std() > 1e-3, "logits that hardly differ would prove nothing"
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_normalisation_and_pool_leave_no_operators_behind() -> None:
    kinds = [node.op_type for node in relu_network(trained()).graph.node]
    assert kinds == ["Conv", "Relu", "MaxPool", *["Conv", "Relu"] * 2, "MaxPool", "Flatten", "Gemm"]


@pytest.mark.parametrize("recipe", ["iir-bn", "iir"])
def test_int8_answers_as_float_does(tmp_path: Path, recipe: RecipeName) -> None:
    network, data, path = trained("resnet12", recipe), pictures(), tmp_path / "dnn.onnx"
    exported = export_dense(network, path, data, threads=1)
    pixels = data.test_images[0:60].numpy()
    inputs = network.experiment.normalisation(torch.from_numpy(pixels)).contiguous().numpy()
    with torch.no_grad():
        theirs = network.logits(torch.from_numpy(pixels)).numpy()
    ours = answers(path, inputs)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98
    accuracy = exported.facts["accuracy"]
    assert accuracy["agreement"] == (ours.argmax(1) == theirs.argmax(1)).mean() > 0.9
    assert accuracy["exported"] == (ours.argmax(1) == data.test_labels.numpy()).mean()
    openvino(path, inputs, ours)


def openvino(path: Path, inputs: np.ndarray, expected: np.ndarray) -> None:
    from snn_bench.dense_engines import openvino as module

    compiled = module().Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
    assert np.corrcoef(compiled(inputs)[0].ravel(), expected.ravel())[0, 1] > 0.99


def test_the_file_is_an_ordinary_one(tmp_path: Path) -> None:
    path = tmp_path / "dnn.onnx"
    export_dense(trained(), path, pictures(), threads=1)
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert [entry.domain for entry in model.opset_import] == [""]
    assert [entry.key for entry in model.metadata_props] == ["dnn.facts"]
    assert model.graph.node[-1].op_type == "Gemm"  # logits are not rounded to bytes
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    weights = {n: t for n, t in tensors.items() if n.endswith("weight_quantized")}
    assert len(weights) == 4 and all(w.dtype == np.int8 for w in weights.values())
    assert all(np.abs(w.astype(int)).max() <= 64 for w in weights.values())
    assert len(tensors["conv2/weight_scale"]) == len(weights["conv2/weight_quantized"])
    zeros = [tensor for name, tensor in tensors.items() if name.endswith("weight_zero_point")]
    assert zeros and not any(zero.any() for zero in zeros)


def test_the_command_measures_and_says_so_in_the_file(
    checkpoint: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = checkpoint.with_name("dnn.onnx")
    line = ["--dense", checkpoint, target, "--data", f"imagefolder:{photos}", "--labels", "a,b,c"]
    assert cli.run(cli.parse_args([str(word) for word in line])) == 0
    said = capsys.readouterr().out
    for part in ("proven: ", "calibrated on 30 training", "accuracy on 30 test images: trained, "):
        assert part in said
    file = read_dense(target)
    assert file is not None and file.measured is not None
    assert (file.height, file.width) == SIZE
    assert file.measured.offset == (120, 119, 104)
    assert file.measured.test_images == 30
    assert f"{file.measured.accuracy:.2%}" in said
    assert '"labels": ["a", "b", "c"]' in onnx.load(str(target)).metadata_props[0].value
    assert file.measured.multiply_adds == products(load(checkpoint, dense=True).network)


def test_what_cannot_be_done_is_refused_in_a_line(checkpoint: Path, photos: Path) -> None:
    target, folder = checkpoint.with_name("dnn.onnx"), checkpoint.parent
    described = networks.experiment("vgg5", size=SIZE)
    networks.save(described, networks.network(described), folder / "t1.pt")
    (photos / "train" / "frog").rename(photos / "train" / "toad")
    (photos / "test" / "frog").rename(photos / "test" / "toad")
    data = f"imagefolder:{photos}"
    for code, says, *arguments in (
        (5, "give the run's ann.pt", "--dense", folder / "t1.pt", target),
        (5, "give the run's t1.pt", checkpoint, target),
        (2, "--int-bits is for spiking networks", "--dense", checkpoint, target, "--int-bits", 4),
        (2, "--mean is for spiking networks", "--dense", checkpoint, target, "--mean", 0),
        (3, "its class 2 is 'toad'", "--dense", checkpoint, target, "--data", data),
        (2, "photos", "--dense", checkpoint, target),  # the run's data are no set of this machine
    ):
        found, said = commands.refusal(arguments)
        assert (found, said.count("\n")) == (code, 1) and str(says) in said, said
    assert not target.exists()


def test_a_network_that_differs_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dense, "synapse", lambda *given: synapse(*given).scaled(1.01))
    with pytest.raises(VerifyError, match="away from the trained network's"):
        export_dense(trained(), tmp_path / "dnn.onnx", pictures(), threads=1)
    assert not list(tmp_path.iterdir())


def test_a_spiking_runtime_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "dnn.onnx"
    export_dense(trained(), path, pictures(), threads=1)
    with pytest.raises(ModelError, match=r"dnn\.onnx: is a dense network of export-snn --dense"):
        read(path)


def test_another_s_float_file_has_an_input_and_no_facts(tmp_path: Path) -> None:
    model = relu_network(trained())
    path = tmp_path / "other.onnx"
    path.write_bytes(model.SerializeToString())
    assert read_dense(path) == DenseFile(*SIZE, None)
    describe(model, {"input": {"offset": [1, 2, "red"]}})
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"other\.onnx: its dnn\.facts are not export-snn's"):
        read_dense(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"other\.onnx: is neither a spiking network nor a dense"):
        read_dense(path)
    path.write_bytes(b"no file of any kind")
    with pytest.raises(ModelError, match=r"other\.onnx: is damaged, cut off, or no ONNX file"):
        read_dense(path)


def test_a_dense_file_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """Two bytes a node, and hundreds once they are read."""
    inner = b"\x0a\x00" * 2**18
    length = bytes([len(inner) & 127 | 128, len(inner) >> 7 & 127 | 128, len(inner) >> 14])
    (tmp_path / "m.onnx").write_bytes(b"\x3a" + length + inner)
    with pytest.raises(ModelError, match="of structure besides its weights"):
        read_dense(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("part", "odd"),
    [
        ("offset", ["nan"] * 3),
        ("offset", [1, 2, True]),
        ("deviation", [1, 2, 3, 4]),
        ("fit", ["crop"]),
        ("exported", 17.0),
        ("images", -4),
        ("images", 2.5),
        ("multiply_adds", -1),
    ],
)
def test_odd_facts_are_refused(part: str, odd: object, tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "input": {"offset": [1, 2, 3], "deviation": [1, 2, 3], "fit": "crop"},
        "accuracy": {"exported": 0.5, "images": 10},
        "multiply_adds": 5,
    }
    path = tmp_path / "m.onnx"
    for wrong in (False, True):
        model = relu_network(trained())
        if wrong:
            next(each for each in (facts["input"], facts["accuracy"], facts) if part in each)[
                part
            ] = odd
        describe(model, facts)
        path.write_bytes(model.SerializeToString())
        if not wrong:
            assert read_dense(path) is not None
    with pytest.raises(ModelError, match="are not export-snn's"):
        read_dense(path)
