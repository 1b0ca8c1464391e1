"""A network of another run as teacher: what it answers, whom it teaches, what is refused."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from same import assert_same
from train.tiny import Recorder

from snn_export import exporting
from snn_export import trained as exported_runs
from snn_runtime.errors import InputError, ModelError, UsageError
from snn_runtime.graph.reference import run as interpret
from snn_runtime.model_file import read_file
from snn_train import api, beginning, checkpoint, found, probe
from snn_train.data import DataSet
from snn_train.data.normalisation import Normalisation
from snn_train.ensemble import Ensemble, Member
from snn_train.parallel import ALONE, Machine
from snn_train.recipe import Recipe
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.step import step_in_parts
from snn_train.teacher import load_teacher
from snn_train.time_budget import TimeBudget
from snn_train.training import Stopped, train_run

NewRun = Callable[..., Run]
CPU = torch.device("cpu")
STAGES = (Stage(0, 2), Stage(1, 1))
ANY: dict[str, Any] = {"rate_limits": (0.0, 15.0), "largest_drop": 1.0}


@pytest.fixture
def first(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of a run, whose data is that of every later one."""
    monkeypatch.setattr(beginning, "load", lambda *_: tiny_data)
    monkeypatch.setattr(found, "load", lambda *_: tiny_data)
    run = new_run(tmp_path / "first", stages=(Stage(0, 2), Stage(2, 1), Stage(1, 1)), **ANY)
    train_run(run, tiny_data, Recorder())
    return tmp_path / "first"


def trained(out: Path, **settings: Any) -> tuple[Run, list[float]]:
    heard = Recorder()
    alone = Machine(device="cpu", threads=1)
    return api.train("tiny", out=out, progress=heard, machine=alone, **settings), heard.losses


def recipe_of(run: Path, **changes: Any) -> Recipe:
    settings = checkpoint.load(run / "ann.pt")
    found = Recipe.from_dicts(settings["architecture"], settings["settings"])
    return replace(found, stages=STAGES, **changes)


def test_the_own_ann_as_a_guest_teaches_the_same(first: Path, tmp_path: Path) -> None:
    chosen: Any = {"ann": first / "ann.pt", "epochs": (2,), "batch_size": 12, **ANY}
    alone, expected = trained(tmp_path / "alone", **chosen)
    guided, losses = trained(tmp_path / "guided", teacher=first / "ann.pt", **chosen)
    assert losses == expected and len(losses) == 2
    assert_same(dict(alone.network.state_dict()), dict(guided.network.state_dict()))
    _, others = trained(tmp_path / "others", teacher=first / "t2.pt", **chosen)
    assert others != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("timesteps", ["ann", "t2", "t1"])
def test_it_answers_as_it_was_trained_to(
    first: Path, new_run: NewRun, tiny_data: DataSet, tmp_path: Path, timesteps: str
) -> None:
    """A student of another size, whose pictures are normalised otherwise."""
    run = new_run(tmp_path / "run", width=0.3, stages=STAGES, guest_teacher=True)
    other = Normalisation((90, 100, 110), (70.0, 60.0, 50.0))
    run.experiment = replace(run.experiment, normalisation=other)
    Ensemble.load(first / f"{timesteps}.pt", tiny_data).keep(tmp_path / "run", run.team)
    member = Member.load(first / f"{timesteps}.pt", tiny_data)
    teacher, plain = load_teacher(run), member.facing(member.experiment.normalisation).eval()
    assert teacher is not None and not teacher.training and not plain.training
    pictures = torch.as_tensor(tiny_data.test_images)
    with torch.no_grad():
        found = teacher(other(pictures))
        expected = plain(member.experiment.normalisation(pictures))
    assert float(expected.std()) > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_several_answer_with_the_mean_of_their_logits(
    first: Path, new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    """Networks of other sizes and timesteps, each of which sees pictures normalised its own way."""
    content = checkpoint.load(first / "t2.pt")
    moved = {"normalisation": {"offset": [90, 100, 110], "deviation": [70.0, 60.0, 50.0]}}
    checkpoint.save(tmp_path / "moved.pt", content | moved)
    wide = new_run(tmp_path / "wide", width=0.3, stages=STAGES, **ANY)
    train_run(wide, tiny_data, Recorder())
    files = [first / "ann.pt", tmp_path / "moved.pt", tmp_path / "wide" / "t1.pt"]
    alone = [Member.load(file, tiny_data) for file in files]
    run = new_run(tmp_path / "run", stages=STAGES, guest_teacher=True)
    Ensemble.load(files, tiny_data).keep(tmp_path / "run", run.team)
    teacher, pictures = load_teacher(run), torch.as_tensor(tiny_data.test_images)
    assert teacher is not None and not any(part.training for part in teacher.modules())
    with torch.no_grad():
        found = teacher(run.experiment.normalisation(pictures))
        answers = [
            member.facing(member.experiment.normalisation).eval()(
                member.experiment.normalisation(pictures)
            )
            for member in alone
        ]
    assert float((answers[1] - answers[0]).std()) > 0
    torch.testing.assert_close(found, sum(answers) / 3, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cached", [False, True])
def test_one_that_is_named_twice_teaches_as_if_it_were_alone(
    first: Path, tmp_path: Path, cached: bool
) -> None:
    chosen: Any = {"recipe": recipe_of(first, cached_teacher=cached)}
    _, expected = trained(tmp_path / "alone", teacher=first / "t2.pt", **chosen)
    _, losses = trained(tmp_path / "twice", teacher=[first / "t2.pt"] * 2, **chosen)
    assert losses == expected and len(losses) == 3
    _, others = trained(tmp_path / "both", teacher=[first / "t2.pt", first / "ann.pt"], **chosen)
    assert others != pytest.approx(expected, rel=1e-3)


def test_a_model_file_teaches_what_it_computes(
    first: Path, new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    file = tmp_path / "model.onnx"
    exporting.export(exported_runs.load(first / "t1.pt"), file, bits=4)
    run = new_run(tmp_path / "run", stages=STAGES, guest_teacher=True)
    Ensemble.load(file, tiny_data).keep(tmp_path / "run", run.team)
    teacher = load_teacher(run)
    assert teacher is not None
    pictures = torch.as_tensor(tiny_data.test_images)
    expected = interpret(read_file(file.read_bytes()).graph, pictures.numpy()).logits
    with torch.no_grad():
        found = teacher(run.experiment.normalisation(pictures)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cached", [False, True])
def test_it_teaches_the_ann_as_well(first: Path, tmp_path: Path, cached: bool) -> None:
    recipe = recipe_of(first, cached_teacher=cached)
    _, expected = trained(tmp_path / "alone", recipe=recipe)
    guided, losses = trained(tmp_path / "guided", recipe=recipe, teacher=first / "ann.pt")
    assert losses[0] != pytest.approx(expected[0], rel=1e-3) and len(losses) == 3
    assert [outcome.stage for outcome in guided.outcomes] == ["ann", "t1"]
    again, repeated = trained(tmp_path / "again", recipe=guided.recipe)  # without one, once more
    assert repeated == expected and not again.recipe.guest_teacher


@pytest.mark.parametrize(("bits", "names"), [(0, ["ann"]), (4, ["ann"]), (0, ["ann", "t2"])])
def test_t1_is_trained_on_and_ends_with_the_same_bits_if_stopped(
    first: Path, tiny_data: DataSet, tmp_path: Path, bits: int, names: list[str]
) -> None:
    teachers = [first / f"{name}.pt" for name in names]
    chosen: Any = {"begin_with": first / "t1.pt", "teacher": teachers, "epochs": (2,)}
    chosen |= {"rate_limits": (0.0, 15.0), "distillation": 0.9, "batch_size": 12}
    chosen["cached_teacher"] = True
    chosen |= {"int_bits": bits, "largest_drop": 1.0} if bits else {}
    whole, losses = trained(tmp_path / "whole", **chosen)
    assert whole.recipe.distillation == 0.9 and len(losses) == 2
    with pytest.raises(Stopped):
        api.train("tiny", out=tmp_path / "pieces", progress=Hasty(), **chosen)
    for _ in range(3):
        with pytest.raises(Stopped):
            train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder(stopping=lambda: True))
    train_run(resume(tmp_path / "pieces", CPU), tiny_data, Recorder())
    name = "int4.pt" if bits else "t1.pt"
    ends = [checkpoint.load(tmp_path / run / name)["network"] for run in ("whole", "pieces")]
    assert_same(dict(ends[0]), dict(ends[1]))


class Hasty(Recorder):
    def stop(self) -> bool:
        return True


def test_a_teacher_that_is_gone_is_named(first: Path, tiny_data: DataSet, tmp_path: Path) -> None:
    chosen: Any = {"begin_with": first / "t1.pt", "teacher": first / "ann.pt", "epochs": (1,)}
    with pytest.raises(Stopped):
        api.train("tiny", out=tmp_path / "on", progress=Hasty(), **chosen)
    (tmp_path / "on" / "teacher.pt").unlink()
    with pytest.raises(ModelError, match=r"teacher\.pt"):
        train_run(resume(tmp_path / "on", CPU), tiny_data, Recorder())


@pytest.mark.parametrize("cached", [False, True])
def test_a_budget_of_time_is_planned_with_it(
    first: Path, tiny_data: DataSet, new_run: NewRun, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, cached: bool,
) -> None:  # fmt: skip
    """It answers in the steps that are measured, of the ANN, too, where it will in the run's."""
    real, seen = step_in_parts, []

    def step(run: Run, student: Any, teacher: Any, *rest: Any) -> Any:
        seen.append((run.stage.name, teacher and len(teacher.layers)))
        return real(run, student, teacher, *rest)

    monkeypatch.setattr(probe, "step_in_parts", step)
    chosen: Any = {"guest_teacher": True, "cached_teacher": cached, "network": "vgg9"}
    run = new_run(tmp_path / "run", stages=STAGES, **chosen)
    ensemble = Ensemble.load(first / "ann.pt", tiny_data)
    place = probe.Place(CPU, run.team, None, ensemble=ensemble)
    made = probe.planned(
        run.experiment, tiny_data, TimeBudget(1e4, since=time.monotonic()), False, place
    )
    assert made.recipe.guest_teacher and made.recipe.stages[1].epochs > STAGES[1].epochs
    layers = len(ensemble.members[0].experiment.build(0, 0).layers)
    assert layers != len(run.network.layers)
    expected = None if cached else layers
    assert set(seen) == {("ann", expected), ("t1", expected)}


def test_a_file_from_before_there_were_integers_teaches(
    first: Path, tiny_data: DataSet, tmp_path: Path
) -> None:
    older = {key: value for key, value in checkpoint.load(first / "t1.pt").items() if key != "bits"}
    checkpoint.save(tmp_path / "older.pt", older)
    Ensemble.load(tmp_path / "older.pt", tiny_data).keep(tmp_path, ALONE)
    (kept,) = Ensemble.kept(tmp_path / "teacher.pt").members
    assert kept.content["timesteps"] == 1


def test_whom_it_cannot_teach_is_refused_before_anything_is_written(
    first: Path, tiny_data: DataSet, tmp_path: Path, train_snn: Callable[..., Any]
) -> None:
    file = first / "ann.pt"
    named = replace(tiny_data, labels=("dark", "light"))
    with pytest.raises(InputError, match=r"2: dark, light, not 2: dark, bright"):
        Member.load(file, named)
    large = replace(tiny_data, train_images=torch.zeros(40, 9, 9, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="pictures are not 8x8"):
        Member.load(file, large)
    content = checkpoint.load(file)
    checkpoint.save(tmp_path / "int.pt", content | {"bits": 4})
    checkpoint.save(tmp_path / "torn.pt", {k: v for k, v in content.items() if k != "labels"})
    for flags, code, message in (
        (["--teacher", file, "--distillation", 0], 2, "--teacher: nothing is learnt from a"),
        (["--teacher", file, "--recipe", "iir"], 2, "--teacher: nothing is learnt from a"),
        (["--teacher", file, "--from", first / "t1.pt", "--largest-drop", 1], 2, "no effect"),
        (["--teacher", tmp_path / "int.pt"], 5, "trained in integers, expected an ann.pt or"),
        (["--teacher", tmp_path / "torn.pt"], 5, "torn.pt: has no 'labels'"),
        (["--teacher", tmp_path / "nothing.pt"], 5, "nothing.pt: no such file"),
        (["--teacher", file, tmp_path / "nothing.pt"], 5, "nothing.pt: no such file"),
        (["--teacher", file, "--teacher", tmp_path / "int.pt"], 5, "int.pt: is trained in integer"),
        (["--teacher", tmp_path / "nothing.onnx"], 5, "nothing.onnx"),
        (["--teacher", "bundled"], 3, "pictures are not 32x32, as bundled sees them"),
    ):
        answer = train_snn("--data", "tiny", *flags, "--out", tmp_path / "refused")
        assert (answer.code, answer.out) == (code, "") and message in answer.err, answer
        assert not (tmp_path / "refused").exists()


def test_the_file_of_several_is_read_with_care(first: Path, tmp_path: Path) -> None:
    content = checkpoint.load(first / "ann.pt")
    path = tmp_path / "teacher.pt"
    for members in ([], {"ann": content}, [{"labels": ("dark", "bright")}]):
        checkpoint.save(path, {"members": members})
        with pytest.raises(ModelError, match=r"teacher\.pt: (does not fit|has no)"):
            Ensemble.kept(path)


def test_no_network_at_all_is_refused(first: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no network, expected one or more"):
        trained(tmp_path / "none", begin_with=first / "t1.pt", teacher=[])
    assert not (tmp_path / "none").exists()


def test_the_command_takes_several(
    first: Path, train_snn: Callable[..., Any], tmp_path: Path
) -> None:
    files = [first / f"{name}.pt" for name in ("ann", "t2", "t1")]
    answer = train_snn(
        "--data", "tiny", "--from", first / "t1.pt", "--teacher", *files[:2], "--teacher", files[2],
        "--epochs", 1, "--rate-limits", "0,1", "--threads", 1, "--out", tmp_path / "on",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    kept = Ensemble.kept(tmp_path / "on" / "teacher.pt").members
    assert [member.content["timesteps"] for member in kept] == [0, 2, 1]


def test_the_command_takes_a_teacher(
    first: Path, train_snn: Callable[..., Any], tmp_path: Path
) -> None:
    answer = train_snn(
        "--data", "tiny", "--from", first / "t1.pt", "--teacher", first / "ann.pt", "--epochs", 1,
        "--rate-limits", "0,1", "--threads", 1, "--out", tmp_path / "on",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    kept = [checkpoint.load(path)["network"] for path in (tmp_path / "on/teacher.pt",
                                                          first / "ann.pt")]  # fmt: skip
    assert_same(dict(kept[0]), dict(kept[1]))
    assert checkpoint.load(tmp_path / "on" / "t1.pt")["settings"]["guest_teacher"] is True
