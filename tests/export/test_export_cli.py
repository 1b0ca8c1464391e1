import json
from pathlib import Path

import networks
import numpy as np
import pytest
import torch
from PIL import Image

from snn_export import cli
from snn_export import export as export_file
from snn_runtime.command import run_command
from snn_runtime.errors import ResourceError
from snn_runtime.files import MARK
from snn_runtime.model import load
from snn_train import checkpoint


def export(*arguments: object) -> int:
    return run_command("export-snn", lambda: cli.run(cli.parse_args([str(a) for a in arguments])))


@pytest.fixture
def t1(tmp_path: Path) -> Path:
    described = networks.experiment("vgg5", size=(12, 12))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    return tmp_path / "t1.pt"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An image folder with the classes of the checkpoint."""
    images = networks.pictures((12, 12), 60)
    for index, pixels in enumerate(images):
        for part in ("train", "test"):
            folder = tmp_path / "photos" / part / ("cat", "dog", "frog")[index % 3]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "photos"


def test_exports_a_model_that_predicts(t1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = t1.with_name("model.onnx")
    assert export(t1, target) == 0
    out = capsys.readouterr().out
    assert "proven" in out and "accuracy not measured" in out and "conv3" in out
    assert "in other runtimes, in float32 (onnxruntime: " in out
    assert "openvino: EXECUTION_MODE_HINT=ACCURACY" in out and "none of --fp16, --bf16" in out
    model = load(target)
    assert model.labels == ("cat", "dog", "frog")
    assert model.logits(networks.pictures((12, 12))).shape == (6, 3)
    model.self_test()


def test_the_checkpoint_is_not_replaced(t1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = t1.read_bytes()
    for target in (t1, t1.parent / "." / t1.name):
        assert export(t1, target) == 7
        assert "is read, and is not replaced: name another [unwritable]" in capsys.readouterr().err
    with pytest.raises(ResourceError, match="is read"):
        export_file(t1, t1)
    assert t1.read_bytes() == before


def test_another_checkpoint_is_not_replaced(
    t1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pt"
    other.write_bytes(t1.read_bytes())
    for command in ([t1, other], ["--dense", t1, other]):
        assert export(*command) == 7
        said = capsys.readouterr().err
        assert f"{other}: is a checkpoint or another archive, and is not replaced: name " in said
    with pytest.raises(ResourceError, match="is a checkpoint or another archive"):
        export_file(t1, other)
    assert other.read_bytes() == t1.read_bytes()


def test_measures_accuracy_and_writes_it_into_the_file(
    t1: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = t1.with_name("model.onnx")
    assert export(t1, target, "--data", f"imagefolder:{photos}", "--format", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    provenance = json.loads(load(target).graph.provenance)
    assert facts["elsewhere"]["openvino"].startswith("EXECUTION_MODE_HINT=ACCURACY")
    assert facts["accuracy"]["images"] == 60
    assert provenance["accuracy"] == facts["accuracy"]["exported"]
    assert set(provenance["spike_rates"]) >= {"conv1", "conv1.pool", "conv2", "conv3"}
    assert facts["file_bytes"] == target.stat().st_size
    assert {row["name"] for row in facts["layers"]} == {"conv1", "conv2", "conv3"}


def test_float32_weights_are_kept_and_said(t1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = t1.with_name("model.onnx")
    assert export(t1, target, "--weights", "float32") == 0
    assert "float32" in capsys.readouterr().out
    assert load(target).graph.populations[0].projections[0].weight.dtype == np.float32


def edited(path: Path, layer_value: float, key: str) -> None:
    content = checkpoint.load(path)
    index = (0,) * content["network"][key].dim()
    content["network"][key][index] = layer_value
    checkpoint.save(path, content)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("layers.1.neuron.threshold", 0.0, "conv2: threshold 0 is not positive"),
        ("layers.0.neuron.threshold", -1.0, "conv1: threshold -1 is not positive"),
        (
            "layers.2.synapse.weight",
            float("nan"),
            "conv3.synapse.weight holds",
        ),
        ("layers.1.norm.running_var", float("inf"), "conv2.norm.running_var holds"),
        ("layers.0.norm.shift", float("nan"), "conv1.norm.shift holds"),
        ("readout.weight", float("nan"), "readout.weight holds"),
    ],
)
def test_bad_numbers_are_refused_by_name(
    t1: Path, key: str, value: float, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(t1, value, key)
    target = t1.with_name("model.onnx")
    assert export(t1, target) == 5
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1
    assert not target.exists()


def test_a_failed_export_leaves_the_old_model(t1: Path) -> None:
    target = t1.with_name("model.onnx")
    assert export(t1, target) == 0
    before = target.read_bytes()
    edited(t1, 0.0, "layers.1.neuron.threshold")
    assert export(t1, target) == 5
    assert target.read_bytes() == before
    assert not list(t1.parent.glob(f"{MARK}*"))


@pytest.mark.parametrize("content", [b"", b"garbage", b"<html>", b"PK\x03\x04" + b"\0" * 60])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t1.pt").write_bytes(content)
    assert export(tmp_path / "t1.pt", tmp_path / "model.onnx") == 5


def test_a_foreign_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "canary",))

    torch.save({"format": "iir-snn", "network": Evil()}, tmp_path / "t1.pt")
    assert export(tmp_path / "t1.pt", tmp_path / "model.onnx") == 5
    assert not (tmp_path / "canary").exists()


def test_data_with_other_classes_is_refused(
    t1: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "test"):
        (photos / part / "frog").rename(photos / part / "toad")
    assert export(t1, t1.with_name("m.onnx"), "--data", f"imagefolder:{photos}") == 3
    assert "its class 2 is 'toad', the network's is 'frog'" in capsys.readouterr().err


def test_a_missing_folder_to_write_to_is_refused_first(t1: Path) -> None:
    assert export(t1, t1.parent / "nowhere" / "model.onnx") == 7


def test_help_shows_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.parse_args(["--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0 and "examples:" in out and "exit codes:" in out
