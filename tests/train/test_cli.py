"""The command line: every flag does something, and every wrong one is refused in one line."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from bad_inputs.pictures import encoded, picture
from refusals import refused

from snn_runtime.errors import InputError
from snn_train import api, checkpoint, remedy, validation
from snn_train.progress import epoch_line
from snn_train.records import EpochRecord, StageOutcome

if TYPE_CHECKING:
    from train.conftest import Answer

Command = Callable[..., "Answer"]
TINY = ("--network", "vgg5", "--width", "0.1", "--timesteps", "2,1", "--epochs", "1",
        "--largest-drop", "1", "--threads", "1")  # fmt: skip


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the training itself."""
    monkeypatch.setattr(api, "train_run", lambda *_: None)


@pytest.fixture
def begun(train_snn: Command, idle: None, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What the checkpoint of a run with the given flags says."""

    def begin(*flags: str, data: str = "digits") -> dict[str, Any]:
        directory = tmp_path / "begun"
        shutil.rmtree(directory, ignore_errors=True)
        answer = train_snn("--data", data, "--out", directory, "--format", "json", *flags)
        assert answer.code == 0, answer.err
        return checkpoint.load(directory / "latest.pt")

    return begin


def photos(root: Path, height: int = 24, width: int = 32) -> Path:
    for part in ("train", "test"):
        for name in ("ant", "bee"):
            (root / part / name).mkdir(parents=True)
            for number in range(10):
                turned = picture(height, width).rotate(9 * number)
                (root / part / name / f"{number}.png").write_bytes(encoded(turned, "PNG"))
    return root


@pytest.mark.parametrize(
    ("flags", "where", "value"),
    [
        (["--network", "vgg9"], ["architecture", "network"], "vgg9"),
        (["--recipe", "iir", "--hidden", "4"], ["architecture", "recipe"], "iir"),
        (["--width", "0.5"], ["architecture", "width"], 0.5),
        (["--hidden", "12"], ["architecture", "hidden"], 12),
        (["--surrogate", "tanh"], ["architecture", "surrogate"], "tanh"),
        (["--dropout", "0.3"], ["architecture", "dropout"], 0.3),
        (["--levels", "2"], ["architecture", "levels"], 2),
        (["--timesteps", "1", "--epochs", "4,9"], ["settings", "stages"], [[0, 4], [1, 9]]),
        (["--epochs", "7"], ["settings", "stages"], [[0, 7], [1, 7]]),
        (["--batch-size", "32"], ["settings", "batch_size"], 32),
        (["--optimiser", "sgd"], ["settings", "optimiser"], "sgd"),
        (["--learning-rate", "0.125"], ["settings", "learning_rate"], 0.125),
        (["--spiking-learning-rate", "0.5"], ["settings", "spiking_learning_rate"], 0.5),
        (["--weight-decay", "0"], ["settings", "weight_decay"], 0.0),
        (["--label-smoothing", "0.25"], ["settings", "label_smoothing"], 0.25),
        (["--distillation", "0"], ["settings", "distillation"], 0.0),
        (["--cached-teacher"], ["settings", "cached_teacher"], True),
        (["--percentile", "99"], ["settings", "percentile"], 99.0),
        (["--largest-drop", "0.5"], ["settings", "largest_drop"], 0.5),
        (["--rate-limits", "0,0.75"], ["settings", "rate_limits"], (0.0, 0.75)),
        (["--validation", "0.2"], ["settings", "validation"], 0.2),
        (["--seed", "11"], ["settings", "seed"], 11),
        (["--ema", "0.9"], ["settings", "ema"], 0.9),
        (["--class-weights", "balanced"], ["settings", "class_weights"], "balanced"),
        (["--micro-batch", "8"], ["micro_batch"], 8),
        (["--augment", "none"], ["settings", "augmentation", "shift"], 0),
        (["--augment", "flip"], ["settings", "augmentation", "flip"], True),
        (["--augment", "flip,shift=2"], ["settings", "augmentation", "shift"], 2),
        (["--augment", "cutout=3"], ["settings", "augmentation", "cutout"], 3),
    ],
)  # fmt: skip
def test_a_flag_ends_up_in_the_checkpoint(
    begun: Callable[..., dict[str, Any]], flags: list[str], where: list[str], value: object
) -> None:
    changed: Any = begun(*flags)
    usual: Any = begun()
    assert changed["data"] == "digits"
    for key in where:
        changed, usual = changed[key], usual[key]
    assert changed == value and usual != value


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])  # one of them is the machine's own
def test_a_precision_ends_up_in_the_checkpoint(
    begun: Callable[..., dict[str, Any]], precision: str
) -> None:
    assert begun("--precision", precision)["settings"]["precision"] == precision


def test_pictures_are_fitted_as_asked(begun: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = f"imagefolder:{photos(tmp_path / 'photos')}"
    flags = ("--width", "0.05", "--image-size", "16x24", "--fit", "stretch")
    content = begun(*flags, data=folder)
    assert (content["input"]["height"], content["input"]["width"]) == (16, 24)
    assert content["input"]["fit"] == "stretch"
    assert content["labels"] == ["ant", "bee"] and content["architecture"]["classes"] == 2
    usual = begun("--width", "0.05", data=folder)
    assert (usual["input"]["height"], usual["input"]["width"]) == (24, 32)
    assert usual["input"]["fit"] == "crop" and usual["architecture"]["network"] == "vgg9"


def test_threads_and_device_are_obeyed(
    train_snn: Command, idle: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    flags = ("--data", "digits", "--format", "json", "--out", tmp_path / "run")
    assert train_snn(*flags, "--threads", "3", "--device", "cpu").code == 0
    assert asked == [3]


def test_the_steps_are_compiled_where_that_is_asked(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compiled(*_: object, **__: object) -> None:
        raise InputError("stopped", "torch.compile is asked")

    monkeypatch.setattr(torch, "compile", compiled)
    flags = ("--data", "digits", *TINY, "--out", tmp_path / "run")
    answer = train_snn(*flags, "--compile")
    assert answer.code == 3 and "torch.compile is asked" in answer.err


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # of torch about itself
def test_without_a_compiler_none_is_used(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/g++"))
    answer = train_snn("--data", "digits", *TINY, "--out", tmp_path / "run", "--compile")
    assert answer.code == 6 and answer.err.startswith("train-snn: error: --compile:")
    for part in ("/nowhere/g++", "--resume and --no-compile", "[cannot_compile]"):
        assert part in answer.err
    assert train_snn("--resume", tmp_path / "run", "--no-compile").code == 0


@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_gpu_that_is_not_there_is_refused(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    answer = train_snn("--data", "digits", "--device", device)
    refused(answer, 6, f"--device {device}: torch sees 0 CUDA devices", "[no_device]")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], ["--data", "--resume"]),
        (["--data"], ["--data"]),
        (["--data", "digits", "--resume", "x"], ["--resume", "not allowed with"]),
        (["--data", "digits", "--frobnicate"], ["--frobnicate"]),
        (["--data", "digits", "--epoch", "3"], ["--epoch"]),  # no guessing what was meant
        (["--data", "digits", "--network", "alexnet"], ["--network", "alexnet", "vgg16"]),
        (["--data", "digits", "--recipe", "x"], ["--recipe", "iir-bn"]),
        (["--data", "digits", "--surrogate", "x"], ["--surrogate", "triangle"]),
        (["--data", "digits", "--optimiser", "x"], ["--optimiser", "adamw"]),
        (["--data", "digits", "--recipe", "iir", "--optimiser", "muon"], ["muon", "iir-bn"]),
        (["--data", "digits", "--precision", "x"], ["--precision", "bfloat16"]),
        (["--data", "digits", "--format", "x"], ["--format", "json"]),
        (["--data", "digits", "--fit", "x"], ["--fit", "stretch"]),
        (["--data", "digits", "--device", "tpu"], ["--device tpu", "expected auto, cpu or cuda"]),
        (["--data", "digits", "--device", "meta"], ["--device meta", "expected auto, cpu or cuda"]),
        (["--data", "digits", "--width", "0"], ["--width", "'0'", "above 0, up to 16"]),
        (["--data", "digits", "--width", "nan"], ["--width", "'nan'", "above 0, up to 16"]),
        (["--data", "digits", "--width", "17"], ["--width", "above 0, up to 16"]),
        (["--data", "digits", "--hidden", "-1"], ["--hidden", "a whole number from 0"]),
        (["--data", "digits", "--hidden", "1.5"], ["--hidden", "a whole number from 0"]),
        (["--data", "digits", "--dropout", "1"], ["--dropout", "from 0, below 1"]),
        (["--data", "digits", "--levels", "0"], ["--levels", "1 to 15"]),
        (["--data", "digits", "--levels", "16"], ["--levels", "1 to 15"]),
        (["--data", "digits", "--batch-size", "1"], ["--batch-size", "a whole number from 2"]),
        (["--data", "digits", "--learning-rate", "-1"], ["--learning-rate", "above 0"]),
        (["--data", "digits", "--learning-rate", "inf"], ["--learning-rate", "above 0"]),
        (["--data", "digits", "--learning-rate", "fast"], ["--learning-rate", "'fast'"]),
        (["--data", "digits", "--weight-decay", "-0.1"], ["--weight-decay", "from 0"]),
        (["--data", "digits", "--label-smoothing", "2"], ["--label-smoothing", "from 0 to 1"]),
        (["--data", "digits", "--distillation", "1.1"], ["--distillation", "from 0 to 1"]),
        (["--data", "digits", "--percentile", "0"], ["--percentile", "above 0, up to 100"]),
        (["--data", "digits", "--largest-drop", "nan"], ["--largest-drop", "from 0 to 1"]),
        (["--data", "digits", "--seed", "-1"], ["--seed", "a whole number from 0"]),
        (["--data", "digits", "--seed", str(2**64)], ["--seed", "a whole number from 0"]),
        (["--data", "digits", "--threads", "0"], ["--threads", "a whole number from 1"]),
        (["--data", "digits", "--timesteps", "1,2"], ["timesteps [1, 2] do not descend"]),
        (["--data", "digits", "--timesteps", "a"], ["--timesteps a", "such as 5,3,1"]),
        (["--data", "digits", "--epochs", "0"], ["--epochs 0", "whole numbers from 1"]),
        (["--data", "digits", "--epochs", "1,2,3,4,5,6,7"], ["--epochs 1,2,3", "at most 2"]),
        (["--data", "digits", "--epochs", "9" * 5000], ["--epochs 999", "whole numbers from 1"]),
        (["--data", "digits", "--timesteps", "9" * 20], ["--timesteps 999", "such as 5,3,1"]),
        (["--data", "digits", "--augment", f"shift={'9' * 5000}"], ["--augment shift=9", "none"]),
        (["--data", "imagefolder:.", "--image-size", f"{'9' * 20}x8"], ["999x8: expected HEIGHT"]),
        (["--data", "digits", "--augment", "turn"], ["--augment turn", "shift="]),
        (["--data", "digits", "--augment", "shift=x"], ["--augment shift=x"]),
        (["--data", "digits", "--augment", "shift=8"], ["--augment shift=8", "8x8"]),
        (["--data", "digits", "--image-size", "16x16"], ["--image-size is for imagefolder"]),
        (["--data", "imagefolder:.", "--image-size", "16"], ["--image-size 16", "HEIGHTxWIDTH"]),
        (["--data", "imagefolder:.", "--image-size", "7x9"], ["--image-size 7x9", "from 8x8"]),
        (["--data", "svhn"], ["--data svhn", "expected one of digits, imagefolder:DIR"]),
        (["--resume", "x", "--epochs", "9"], ["--epochs cannot change a run that goes on"]),
        (["--resume", "x", "--weight-decay", "9"], ["--weight-decay cannot change"]),
        (["--data", "digits", "--rate-limits", "0.6"], ["'0.6' is not LOW,HIGH, spikes a neuron"]),
        (["--data", "digits", "--rate-limits", "0.6,0.5"], ["'0.6,0.5' is not LOW,HIGH"]),
        (["--resume", "x", "--out", "y"], ["--out cannot change"]),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_one_line_that_names_it(
    refused_unbegun: Callable[..., None], flags: list[str], expected: list[str]
) -> None:
    refused_unbegun(*flags, expected=expected)


def test_missing_data_is_refused_before_anything_is_written(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(train_snn("--data", "imagefolder:none"), 3, "none: no such folder", "[bad_data]")
    refused(train_snn("--data", "mnist:none"), 3, "none: is no folder, expected one that holds")
    refused(train_snn("--data", "cifar10:none.tar.gz"), 3, "none.tar.gz")
    assert list(tmp_path.iterdir()) == []


def test_an_old_run_is_never_overwritten(
    train_snn: Command, begun: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    begun()
    directory = tmp_path / "begun"
    before = (directory / "latest.pt").read_bytes()
    answer = train_snn("--data", "digits", "--out", directory)
    refused(answer, 2, f"{directory} holds a run already", f"--resume {directory}", "--out")
    assert (directory / "latest.pt").read_bytes() == before
    # Also where only the state before the latest is left.
    (directory / "latest.pt").rename(directory / "previous.pt")
    refused(train_snn("--data", "digits", "--out", directory), 2, "holds a run already")


@pytest.mark.parametrize("name", ["t1.pt", "t1-refused.pt", "metrics.jsonl", "training.png"])
def test_a_file_that_lies_there_is_never_replaced(
    train_snn: Command, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    answer = train_snn("--data", "digits", "--out", tmp_path)
    refused(answer, 2, f"{tmp_path} holds {name}, which a run would replace", "--out")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused_before_training(
    train_snn: Command, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    for out in (file, file / "run"):
        refused(train_snn("--data", "digits", "--out", out), 7, str(out), "[unwritable]")
    assert file.read_text() == "in the way"


def test_nothing_to_resume_is_refused(train_snn: Command, tmp_path: Path) -> None:
    refused(train_snn("--resume", tmp_path / "none"), 5, "none: no such folder")
    refused(train_snn("--resume", tmp_path), 5, "nothing to resume", "latest.pt: no such file")


def test_data_that_changed_is_refused_on_resume(
    train_snn: Command, begun: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    root = photos(tmp_path / "photos", 8, 8)
    begun("--width", "0.05", data=f"imagefolder:{root}")
    victim = root / "train" / "ant" / "3.png"
    victim.write_bytes(encoded(picture(8, 8).rotate(90), "PNG"))
    directory = tmp_path / "begun"
    begin = (
        f"or begin a new run: train-snn --data imagefolder:{root} --out {directory}-2 [bad_data]"
    )
    answer = train_snn("--resume", directory)
    refused(answer, 3, f"{root} has changed since the run in {directory} began", "others", begin)
    (root / "test" / "bee" / "3.png").unlink()
    (directory / "ann.pt").touch()
    answer = train_snn("--resume", directory)
    refused(answer, 3, "began: bee has 19 pictures, had 20; put", f"--ann {directory}/ann.pt --out")
    (directory / "t1.pt").touch()
    refused(train_snn("--resume", directory), 3, f" --from {directory}/t1.pt --out")
    victim.unlink()
    refused(train_snn("--resume", directory), 3, "19 training images")


def test_a_run_goes_on_from_any_folder(
    train_snn: Command,
    begun: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    root, other, directory = photos(tmp_path / "photos", 8, 8), tmp_path / "other", tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    begun("--width", "0.05", data="imagefolder:photos")
    (tmp_path / "begun").rename(directory)
    photos(other / "photos", 9, 9)  # others of the same name
    monkeypatch.chdir(other)
    assert train_snn("--resume", directory, "--format", "json").code == 0
    root.rename(tmp_path / "moved")
    refused(train_snn("--resume", directory), 3, "imagefolder:photos has changed", "are others")
    shutil.rmtree(other / "photos")
    answer = train_snn("--resume", directory)
    refused(answer, 3, f"photos: found neither in {tmp_path}, where the run began, nor in {other}:")
    (other / "photos").symlink_to(tmp_path / "moved")
    assert train_snn("--resume", directory, "--format", "json").code == 0
    assert checkpoint.load(directory / "latest.pt")["found"] == {
        "folder": str(other),
        "counts": {"ant": 20, "bee": 20},
    }


def test_the_state_of_an_older_version_goes_on_where_its_run_began(
    train_snn: Command,
    begun: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    root, directory = photos(tmp_path / "photos", 8, 8), tmp_path / "begun"
    monkeypatch.chdir(tmp_path)
    content = begun("--width", "0.05", data="imagefolder:photos")
    del content["found"]
    checkpoint.save(directory / "latest.pt", content)
    monkeypatch.chdir(root)
    answer = train_snn("--resume", directory)
    refused(answer, 3, f"photos: not found in {root}: go on from the folder in which the run began")
    monkeypatch.chdir(tmp_path)
    assert train_snn("--resume", directory, "--format", "json").code == 0
    checkpoint.save(directory / "latest.pt", content)
    (root / "test" / "ant" / "1.png").unlink()
    refused(train_snn("--resume", directory), 3, "of an older version, does not say how; put the")


def test_help_shows_examples_data_and_exit_codes(train_snn: Command) -> None:
    answer = train_snn("--help")
    shown = answer.out
    assert answer.code == 0
    for part in ("examples:", "train-snn --data digits", "--resume runs/digits", "imagefolder:DIR",
                 "exit codes:", "0 ok", "8 diverged", "75 try again"):  # fmt: skip
        assert part in shown


def test_json_lines_all_parse(train_snn: Command, tmp_path: Path) -> None:
    answer = train_snn("--data", "digits", *TINY, "--format", "json", "--out", tmp_path / "run")
    assert (answer.code, answer.err) == (0, "")
    lines = [json.loads(line) for line in answer.out.splitlines()]
    events = [line["event"] for line in lines if "kept as it was" not in line.get("text", "")]
    assert events == [*["note"] * 2, *["epoch"] * 3, "confusion", "end"]
    assert [stage["stage"] for stage in lines[-1]["stages"]] == ["ann", "t2", "t1"]
    assert all(0 <= stage["test"] <= 1 for stage in lines[-1]["stages"])
    assert lines[-2]["labels"] == list("0123456789") and len(lines[-2]["counts"]) == 10
    written = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [line for line in lines if line["event"] == "epoch"] == [
        {"event": "epoch", **json.loads(line)} for line in written
    ]


def test_text_ends_with_a_table_and_the_next_command(train_snn: Command, tmp_path: Path) -> None:
    directory = tmp_path / "my run"
    answer = train_snn("--data", "digits", *TINY, "--out", directory)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert "2,982 parameters" in lines[0] and "ann → t2 → t1" in lines[0]
    assert [line.split()[0] for line in lines[-7:-3]] == ["stage", "ann", "t2", "t1"]
    assert [line.split()[0] for line in lines[-19:-8]] == ["is", *"0123456789"]
    assert lines[-2].startswith(f"pictures in {directory}: training.png, confusion.png")
    export = f"export-snn '{directory}/t1.pt' model.onnx --data digits"
    assert lines[-1] == f"{directory}/t1.pt  next: {export}"


def test_the_next_command_is_for_the_folder_one_is_in(
    train_snn: Command, idle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "my photos", 8, 8)
    monkeypatch.chdir(tmp_path)
    outcome = StageOutcome(
        stage="t1", timesteps=1, validation=1, test=1, spike_rate=0, rates={}, epochs=1, seconds=1
    )
    monkeypatch.setattr(api, "train_run", lambda run, *_: run.outcomes.append(outcome))
    flags = ("--width", "0.05", "--out", tmp_path / "run")
    assert train_snn("--data", "imagefolder:my photos", *flags).out.endswith(
        f"next: export-snn {tmp_path}/run/t1.pt model.onnx --data 'imagefolder:my photos'\n"
    )
    monkeypatch.chdir("run")
    assert train_snn("--resume", ".").out.endswith(
        f"next: export-snn t1.pt model.onnx --data 'imagefolder:{tmp_path}/my photos'\n"
    )


def test_a_run_that_diverges_exits_with_8_and_says_how_to_go_on(
    train_snn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "health_problem", lambda steps, *_: "it is lost" * bool(steps))
    answer = train_snn("--data", "digits", *TINY, "--out", tmp_path)
    assert answer.code == 8
    *table, last = answer.err.splitlines()
    assert [line.split()[0] for line in table] == ["stage", "ann"]
    assert f"; its best state is in {tmp_path}/t2-refused.pt; to go on: train-snn --resume" in last
    assert last.startswith("train-snn: error: stage t2 failed 4 times") and "it is lost" in last


def test_where_a_folder_selects_no_share_does(train_snn: Command, tmp_path: Path) -> None:
    root = photos(tmp_path / "photos")
    shutil.copytree(root / "test", root / "val")
    flags = ("--data", f"imagefolder:{root}", "--image-size", "8x8", "--validation", "0.2")
    answer = train_snn(*flags, "--out", tmp_path / "run")
    assert answer.code == 2 and "--validation: 20 pictures of " in answer.err
    assert not (tmp_path / "run").exists()


def test_a_run_is_no_class_of_its_pictures(
    train_snn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "photos", 8, 8)
    monkeypatch.chdir(root)
    for flags in ((), ("--out", root / "runs")):
        answer = train_snn("--data", "imagefolder:.", "--image-size", "8x8", *flags)
        assert answer.code == 2 and "lies in imagefolder:., whose folders are its" in answer.err
    assert not (root / "runs").exists()


@pytest.mark.parametrize("name", ["$x_$ {y} 100%", os.fsdecode(b"of \xe9t\xe9\n")])
def test_a_data_folder_of_any_name_can_be_drawn(
    train_snn: Command, tmp_path: Path, name: str
) -> None:
    root = photos(tmp_path / name, 8, 8)
    for file in (root / "test").rglob("*.png"):
        file.rename(file.with_name(f"{name} {file.name}"))
    out = tmp_path / "run"
    answer = train_snn("--data", f"imagefolder:{root}", *TINY, "--batch-size", 4, "--out", out,
                       "--percentile", 60)  # fmt: skip
    assert answer.code == 0, answer.err
    for drawn in ("training.png", "confusion.png"):
        assert (out / drawn).read_bytes().startswith(b"\x89PNG")


def test_an_epochs_line_says_what_matters() -> None:
    record = EpochRecord(
        stage="t2", attempt=0, epoch=3, epochs=10, loss=0.51234, validation=0.987, seconds=1.0,
        images_per_second=1234.5, spike_rate=0.123, rates={"a": 0.1, "b": 0.256},
    )  # fmt: skip
    line = epoch_line(record)
    assert line.split() == [
        "t2", "3/10", "loss", "0.5123", "validation", "98.70%", "1,234", "images/s",
        "spikes", "12.3%", "(%", "a", "layer:", "10", "26)",
    ]  # fmt: skip
    assert "spikes" not in epoch_line(replace(record, spike_rate=None))
    newer = replace(record, training=0.9, epochs_left=7, seconds_left=400.0)
    assert "loss 0.5123  training 90.00%  validation 98.70%" in epoch_line(newer)
    assert "1,234 images/s  7 epochs to come, 7m left  spikes" in epoch_line(newer)


def test_what_torchrun_starts_again_goes_on(
    train_snn: Command, idle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where this same command began the run, and as it was: its flags are in the run already."""
    changed: list[dict[str, Any]] = []
    monkeypatch.setattr(remedy, "apply", lambda _, changes: changed.append(changes))
    command = ("--data", "digits", "--out", tmp_path / "run", "--format", "json", *TINY)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "4711")
    assert train_snn(*command).code == 0 and changed == []
    assert train_snn(*command).code == 0 and changed == [{}]
    (tmp_path / "run" / "latest.pt").write_bytes(b"torn")  # with its machine
    assert train_snn(*command).code == 0 and changed == [{}, {}]
    assert train_snn(*command, "--seed", "1").code == 2
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert train_snn(*command).code == 2
