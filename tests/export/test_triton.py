"""A repository for Triton against Triton's own configuration format, and the file that it names."""

import importlib.util
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from commands import refusal
from google.protobuf import text_format
from graphs import example, packed
from hypothesis import given
from hypothesis import strategies as st

from snn_export import cli
from snn_export.flags import DEVICES, Device
from snn_export.triton import NAME, config, plan_script, write_repository
from snn_runtime.errors import ModelError, ResourceError, UsageError
from snn_runtime.model_file import write

EXAMPLE = example()
TYPES = {"TYPE_UINT8": "tensor(uint8)", "TYPE_FP32": "tensor(float)"}


def published() -> Any:
    """Triton's model_config.proto, compiled, as its client brings it. Taken by its path: the
    package around it wants gRPC."""
    package = importlib.util.find_spec("tritonclient")
    assert package and package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PB = published()


def parsed(text: str) -> Any:
    """The message, in which a field that Triton does not know is an error."""
    return text_format.Parse(text, PB.ModelConfig())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "cats-and-dogs.onnx"
    write(EXAMPLE, path)
    return path


@pytest.mark.parametrize("device", DEVICES)
def test_the_configuration_is_one_of_the_file(model: Path, tmp_path: Path, device: Device) -> None:
    folder = write_repository(model, tmp_path, device=device, batch=16)
    message = parsed((folder / "config.pbtxt").read_text())
    assert folder == tmp_path / "cats-and-dogs" and message.name == folder.name
    assert (folder / "1" / "model.onnx").read_bytes() == model.read_bytes()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    for told, known in zip(
        [*message.input, *message.output],
        [*session.get_inputs(), *session.get_outputs()],
        strict=True,
    ):
        assert (told.name, list(told.dims)) == (known.name, known.shape[1:])
        assert TYPES[PB.DataType.Name(told.data_type)] == known.type
    labels = (folder / message.output[0].label_filename).read_text().splitlines()
    assert tuple(labels) == EXAMPLE.labels
    assert PB.ModelInstanceGroup.Kind.Name(message.instance_group[0].kind) == (
        "KIND_CPU" if device == "cpu" else "KIND_GPU"
    )
    assert message.platform == ("tensorrt_plan" if device == "tensorrt" else "onnxruntime_onnx")


def test_warm_up_shows_what_the_file_takes(model: Path, tmp_path: Path) -> None:
    message = parsed((write_repository(model, tmp_path, batch=5) / "config.pbtxt").read_text())
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert (
        [each.batch_size for each in message.model_warmup] == [1, message.max_batch_size] == [1, 5]
    )
    for each in message.model_warmup:
        shown = each.inputs["image"]
        pixels = np.zeros((each.batch_size, *shown.dims), np.uint8)
        (logits,) = session.run(["logits"], {"image": pixels})
        assert logits.shape == (each.batch_size, *message.output[0].dims)


def test_a_gpu_computes_in_float32(model: Path, tmp_path: Path) -> None:
    cuda = parsed((write_repository(model, tmp_path, device="cuda") / "config.pbtxt").read_text())
    (accelerator,) = cuda.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, dict(accelerator.parameters)) == ("cuda", {"use_tf32": "0"})
    cpu = parsed((write_repository(model, tmp_path) / "config.pbtxt").read_text())
    assert not cpu.HasField("optimization")


def test_the_command_for_a_plan(model: Path, tmp_path: Path) -> None:
    """Run by a shell, with a trtexec that says what it was asked in which folder."""
    folder = write_repository(model, tmp_path / "r", device="tensorrt", batch=8)
    fake = tmp_path / "trtexec"
    fake.write_text('#!/bin/sh\nls\nfor each; do echo "$each"; done\n')
    fake.chmod(0o755)
    line = f"PATH={shlex.quote(str(tmp_path))}:$PATH sh {folder / 'build-plan.sh'}"
    said = subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    height, width = EXAMPLE.image.height, EXAMPLE.image.width
    assert said.split() == [
        "model.onnx", "--onnx=model.onnx", "--saveEngine=model.plan", "--noTF32",
        *(f"--{which}Shapes=image:{n}x{height}x{width}x3"
          for which, n in (("min", 1), ("opt", 8), ("max", 8))),
    ]  # fmt: skip


def test_a_plan_of_other_weights_or_shapes_does_not_stay(model: Path, tmp_path: Path) -> None:
    """It would be served under the new labels."""
    folder = write_repository(model, tmp_path, device="tensorrt", batch=8)
    plan, script = folder / "1" / "model.plan", folder / "build-plan.sh"
    assert os.access(script, os.X_OK)
    plan.write_bytes(b"plan")
    write_repository(model, tmp_path, device="tensorrt", batch=8)
    assert plan.exists()  # of the same weights and shapes: hours of work on a small board
    write_repository(model, tmp_path, device="tensorrt", batch=9)
    assert not plan.exists() and script.exists()
    plan.write_bytes(b"plan")
    (folder / "1" / "model.onnx").write_bytes(b"another network")
    write_repository(model, tmp_path, device="tensorrt", batch=9)
    assert not plan.exists()
    plan.write_bytes(b"plan")
    write_repository(model, tmp_path)
    assert not plan.exists() and not script.exists()


@given(name=st.from_regex(NAME, fullmatch=True), batch=st.integers(1, 4096))
def test_any_name_and_batch(name: str, batch: int) -> None:
    for device in DEVICES:
        message = parsed(config(EXAMPLE, name, device, batch))
        assert (message.name, message.max_batch_size) == (name, batch)
        assert message.dynamic_batching.default_queue_policy.max_queue_size > 0
    assert f":{batch}x" in plan_script(EXAMPLE, batch)


def test_tensorrt_gets_no_int4_weights(model: Path, tmp_path: Path) -> None:
    """Its parser has them for products only, by its documentation."""
    half = tmp_path / "half.onnx"
    write(packed(EXAMPLE), half)
    with pytest.raises(UsageError, match="weights are int4, which trtexec is not known to take"):
        write_repository(half, tmp_path / "models", device="tensorrt")
    assert not (tmp_path / "models").exists()
    write_repository(half, tmp_path / "models", device="cuda")


def test_a_repository_holds_several_models(model: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        write_repository(model, tmp_path, name=name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]
    files = {str(each.relative_to(tmp_path / "one")) for each in (tmp_path / "one").rglob("*")}
    assert files == {"1", "1/model.onnx", "config.pbtxt", "labels.txt"}


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", 'a"b', "a b", "é", "a\n"])
def test_names_that_are_no_folder_are_refused(model: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--triton-name"):
        write_repository(model, tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_and_a_full_place_are_refused(model: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ModelError):
        write_repository(torn, tmp_path / "r")
    assert not (tmp_path / "r").exists()
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResourceError, match="taken"):
        write_repository(model, tmp_path / "taken")


# The command


def test_of_a_file_that_was_exported(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = tmp_path / "r"
    flags = [str(model), "--triton", str(repository), "--triton-name", "cats"]
    assert cli.run(cli.parse_args([*flags, "--triton-device", "tensorrt"])) == 0
    said = capsys.readouterr().out
    assert said.startswith(str(repository / "cats")) and "build-plan.sh" in said
    assert cli.run(cli.parse_args([*flags, "--triton-batch", "3", "--format", "json"])) == 0
    assert json.loads(capsys.readouterr().out) == {"triton": str(repository / "cats")}
    message = parsed((repository / "cats" / "config.pbtxt").read_text())
    assert (message.platform, message.max_batch_size) == ("onnxruntime_onnx", 3)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["t1.pt"], "MODEL is missing"),
        (["t1.pt", "--triton", "r"], "MODEL is missing"),
        (["t1.pt", "--data", "digits"], "MODEL is missing"),
        (["t1.pt", "m.onnx", "--triton-device", "cuda"], "--triton"),
        (["ann.pt", "m.onnx", "--dense", "--triton", "r"], "--triton"),
        (["m.onnx", "--triton", "r", "--triton-batch", "0"], "--triton-batch"),
        (["m.onnx", "--triton", "r", "--data", "digits"], "--data changes nothing"),
        (
            [
                "t1.pt",
                "m.onnx",
                "--weights",
                "int4",
                "--triton",
                "r",
                "--triton-device",
                "tensorrt",
            ],
            "--weights int4 is not for --triton-device tensorrt",
        ),
        (["m.onnx", "--triton", "r", "--labels", "a,b"], "--labels changes nothing"),
        (["m.onnx", "--triton", "r", "--int-bits", "4"], "--int-bits changes nothing"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags: list[str], expected: str) -> None:
    code, said = refusal(flags)
    assert code == 2 and expected in said


def test_an_export_that_fails_leaves_no_place(model: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "t1.pt"
    damaged.write_bytes(b"PK\3\4 and no more")
    kept = tmp_path / "r" / "other" / "1"
    for repository in (tmp_path / "new" / "r", kept.parents[1]):
        code, _ = refusal([damaged, tmp_path / "m.onnx", "--triton", repository])
        assert code == 5 and not (tmp_path / "new").exists()
        kept.mkdir(parents=True, exist_ok=True)
    assert [path.name for path in kept.parents[1].iterdir()] == ["other"]


def test_a_place_that_cannot_be_is_refused_before_the_export(model: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for code, says, name, *more in (
        (2, "name it with --triton-name", "my model.onnx", "--triton", tmp_path / "r"),
        (7, "cannot make it", "m.onnx", "--triton", tmp_path / "taken"),
    ):
        target = tmp_path / str(name)
        found, said = refusal([model.with_suffix(".pt"), target, *more])
        assert (found, target.exists()) == (code, False) and str(says) in said, said
