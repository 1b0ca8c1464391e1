"""Probabilities that mean something: fitted by search, judged by an independent formula."""

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import networks
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from in_memory import in_memory

from snn_export import cli, export
from snn_export.calibration import (
    Confidence,
    Labels,
    Logits,
    calibrate,
    calibration_error,
    familiarity,
    fit,
    held_out,
)
from snn_export.provenance import split_of, trained_labels
from snn_export.recalibrate import recalibrate
from snn_export.text import confidence_lines
from snn_runtime.calibration import UNCALIBRATED, Calibration, Numbers
from snn_runtime.errors import ModelError, ResourceError, UsageError
from snn_runtime.graph.reference import Counts, Spikes
from snn_runtime.model import load
from snn_train import data as data_sets
from snn_train.data import DataSet
from snn_train.data.overview import TELLING
from snn_train.experiment import digest


def drawn(true: Calibration, count: int, classes: int, seed: int) -> tuple[Logits, Labels]:
    """Logits, and labels drawn with the probabilities that `true` makes of them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes)).astype(np.float32)
    p = true.probabilities(logits)
    labels = (p.cumsum(1) < rng.random((count, 1))).sum(1).clip(0, classes - 1)
    return logits, labels.astype(np.int64)


def posterior(found: Calibration, logits: Logits, labels: Labels) -> float:
    """Cross-entropy against Platt's targets, which are written out, and the prior densities."""
    n, classes = logits.shape
    targets = np.full((n, classes), 1 / (n + 2) / (classes - 1))
    targets[np.arange(n), labels] = 1 - 1 / (n + 2)
    total = (targets * np.log(found.probabilities(logits))).sum()
    for value, spread in (math.log(found.temperature), 0.5), (found.floor * classes, 0.1):
        total += math.log(NormalDist(0, spread).pdf(value) / NormalDist(0, spread).pdf(0))
    return float(-total / n)


@given(st.floats(0.4, 2.5), st.floats(0, 0.3), st.integers(2, 12), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_the_search_finds_what_a_grid_finds(
    temperature: float, share: float, classes: int, seed: int
) -> None:
    logits, labels = drawn(Calibration(temperature, share / classes), 200, classes, seed)
    found = posterior(fit(logits, labels), logits, labels)
    grid = [
        posterior(Calibration(t, f / classes), logits, labels)
        for t in np.geomspace(0.25, 4, 21).tolist()
        for f in np.linspace(0, 0.6, 13).tolist()
    ]
    assert found <= min(grid) + 5e-4


def test_many_pictures_give_back_the_true_numbers() -> None:
    true = Calibration(0.7, 0.02)
    found = fit(*drawn(true, 6_000, 10, 1))
    assert found.temperature == pytest.approx(0.7, rel=0.1)
    assert found.floor == pytest.approx(0.02, rel=0.5)


def test_few_pictures_that_are_all_right_do_not_make_it_certain() -> None:
    logits = 9 * np.eye(3, dtype=np.float32)[np.arange(6) % 3]
    p = fit(logits, logits.argmax(1)).probabilities(logits)
    platt = 7 / 8  # the target of six; the network itself is sure
    assert np.all((platt < p.max(1)) & (p.max(1) < 0.98))


def test_few_pictures_that_are_all_right_leave_a_weaker_logit_less_sure() -> None:
    logits = 4 * np.eye(3, dtype=np.float32)[np.arange(150) % 3]
    logits[0] /= 4
    sure = fit(logits, logits.argmax(1)).probabilities(logits).max(1)
    assert 0.5 < sure[0] < 0.8 and sure[1:] == pytest.approx(np.full(149, 151 / 152), abs=0.005)


def test_one_class_needs_no_calibration() -> None:
    assert fit(np.zeros((4, 1), np.float32), np.zeros(4, np.int64)) == UNCALIBRATED


def test_the_calibration_error_by_another_way() -> None:
    """Guo et al.: Σ_b |B_b| / n · |acc(B_b) − conf(B_b)|, one picture after the other."""
    logits, labels = drawn(UNCALIBRATED, 1500, 5, 2)
    p = Calibration(0.5).probabilities(logits)
    pictures = sorted(
        (max(row), row.tolist().index(max(row)) == label)
        for row, label in zip(p, labels, strict=True)
    )
    error = 0.0
    for b in range(15):
        part = pictures[100 * b : 100 * (b + 1)]
        accuracy = sum(right for _, right in part) / 100
        confidence = sum(most for most, _ in part) / 100
        error += 100 / 1500 * abs(accuracy - confidence)
    assert calibration_error(p, labels) == pytest.approx(error, rel=1e-9)
    assert calibration_error(p, labels) > 3 * calibration_error(
        UNCALIBRATED.probabilities(logits), labels
    )


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return data_sets.load("digits", lambda items, *_: items)


def test_its_own_validation_pictures_are_found_again(digits: DataSet) -> None:
    settings = {"validation": 0.2, "seed": 7}
    chosen, source = held_out({"settings": settings, "data_digest": digest(digits)}, digits)
    assert torch.equal(chosen, digits.split(0.2, 7)[1]) and "validation" in source
    assert torch.equal(held_out({"settings": settings}, digits)[0], chosen)  # an older file
    everything, source = held_out({"settings": settings, "data_digest": "other"}, digits)
    assert len(everything) == len(digits.train_labels) and "not those" in source
    some, source = held_out({}, digits)
    assert torch.equal(some, digits.split(0.1, 0)[1]) and "nobody knows" in source


def test_the_test_pictures_only_measure(digits: DataSet) -> None:
    """Whatever the test logits are, the same numbers are fitted."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1e-3, (192, 10)).astype(np.float32)

    class Engine:
        name = details = "of one layer"

        def run(self, images: npt.NDArray[np.uint8]) -> Logits:
            return np.asarray(images.reshape(len(images), -1) @ weight, np.float32)

        def observe(self, images: npt.NDArray[np.uint8]) -> tuple[Logits, Numbers | None]:
            return self.run(images), None

        def count(self, images: npt.NDArray[np.uint8]) -> tuple[Logits, Counts]:
            return self.run(images), (images > 99).sum((1, 2))

        def spikes(self, images: npt.NDArray[np.uint8]) -> dict[str, Spikes]:
            return {"pixels": images.transpose(0, 3, 1, 2) > 99}

    test = Engine().run(in_memory(digits.test_images).numpy())
    right = np.eye(10, dtype=np.float32)[digits.test_labels.numpy()]
    first, second = (calibrate(Engine(), {"pixels": 3}, {}, digits, each) for each in (test, right))
    assert first.calibration == second.calibration != UNCALIBRATED
    assert (first.test_accuracy, second.test_accuracy) == (
        float((test.argmax(1) == digits.test_labels.numpy()).mean()),
        1.0,
    )


@pytest.mark.parametrize(("accuracy", "learnt"), [(0.87, False), (1.0, True)])
def test_pictures_that_it_learnt_from_are_noticed(accuracy: float, learnt: bool) -> None:
    found = Confidence(UNCALIBRATED, "", 5000, "", accuracy, 10_000, 0.86, (0.1, 0.1), 0.05)
    assert found.learnt is learnt


def test_export_calibrates_the_file(tmp_path: Path) -> None:
    described = replace(networks.experiment(), labels=tuple("0123456789"))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    exported = export(tmp_path / "t1.pt", tmp_path / "model.onnx", data="digits")
    assert exported.confidence is not None
    model = load(tmp_path / "model.onnx", threads=1)
    assert model.graph.calibration == exported.confidence.calibration != UNCALIBRATED
    facts = json.loads(model.graph.provenance)["confidence"]
    assert facts == json.loads(json.dumps(exported.facts["confidence"]))
    assert f"temperature {facts['temperature']:g}" in exported.text()
    test = data_sets.load("digits", lambda items, *_: items)
    p = model.graph.calibration.probabilities(model.logits(in_memory(test.test_images).numpy()))
    error = calibration_error(p, test.test_labels.numpy())
    assert facts["calibration_error"]["after"] == pytest.approx(error, abs=1e-5)


@pytest.mark.parametrize("how", [{}, {"weights": "int4", "bits": 4}])
def test_a_file_that_exists_is_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: Any
) -> None:
    """In its place or beside it, as export does it with the same pictures. No logit moves."""
    described = replace(networks.experiment(), labels=tuple("0123456789"))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    plain, whole = tmp_path / "plain.onnx", tmp_path / "whole.onnx"
    export(tmp_path / "t1.pt", plain, **how)
    export(tmp_path / "t1.pt", whole, data="digits", **how)
    before = load(plain, threads=1)
    command = ["--calibrate", str(plain), "--data", "digits", "--format", "json"]
    copied = [*command[:2], str(tmp_path / "copy.onnx"), *command[2:]]
    for line in (copied, command):
        assert cli.run(cli.parse_args(line)) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (load(plain).graph.calibration == UNCALIBRATED) is (line is copied)
    assert plain.read_bytes() == (tmp_path / "copy.onnx").read_bytes()
    after, expected = load(plain, threads=1), load(whole, threads=1)
    assert after.graph.calibration == expected.graph.calibration
    assert after.graph.packed is before.graph.packed is bool(how)
    told, all_told = (json.loads(each.graph.provenance) for each in (after, expected))
    assert told == all_told
    assert facts["confidence"] == told["confidence"]
    assert (after.golden, facts["digest"]) == (before.golden, after.graph.digest())
    images = networks.pictures((8, 8))
    np.testing.assert_array_equal(after.logits(images), before.logits(images))


def test_a_file_with_renamed_classes_is_calibrated_where_a_link_points(tmp_path: Path) -> None:
    """By pictures under the names that it was trained with, as its export was."""
    described = replace(networks.experiment(), labels=tuple("0123456789"))
    networks.save(described, networks.network(described), tmp_path / "t1.pt")
    export(tmp_path / "t1.pt", tmp_path / "file.onnx", labels=[f"number {n}" for n in range(10)])
    (tmp_path / "link.onnx").symlink_to("file.onnx")
    (tmp_path / "file.onnx").chmod(0o600)
    line = ["--calibrate", str(tmp_path / "link.onnx"), "--data", "digits"]
    assert cli.run(cli.parse_args(line)) == 0
    assert (tmp_path / "link.onnx").is_symlink()
    assert load(tmp_path / "file.onnx").graph.calibration != UNCALIBRATED
    assert load(tmp_path / "file.onnx").labels[3] == "number 3"
    assert (tmp_path / "file.onnx").stat().st_mode & 0o777 == 0o600, "it stays as private as it was"
    (tmp_path / "circle.onnx").symlink_to("circle.onnx")
    with pytest.raises(ResourceError, match="symbolic links"):
        recalibrate(tmp_path / "file.onnx", tmp_path / "circle.onnx", "digits")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--calibrate", "m.onnx"], "--calibrate needs pictures"),
        (["--calibrate", "m.onnx", "--data", "digits", "--int-bits", "4"], "takes a model file"),
        (["t1.pt"], "MODEL is missing"),
    ],
)
def test_a_calibration_that_lacks_something_is_refused(line: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        cli.parse_args(line)


def test_what_is_usual_is_learnt_from_one_half_and_far_from_the_other() -> None:
    rng = np.random.default_rng(0)
    counts = np.hstack([rng.poisson(9, (4000, 6)), np.zeros((4000, 2))]).astype(np.int64)
    known = familiarity(counts, {"a": 6, "b": 2})
    assert known is not None
    for channel, mean, deviation in zip(counts[::2, :6].T, *known.usual[0][1:], strict=True):
        assert mean == pytest.approx(channel.mean(), rel=1e-3)
        assert deviation == pytest.approx(channel.std(), rel=1e-3)
    assert known.usual[1] == ("b", (0.0, 0.0), (0.5, 0.5))  # neurons that never fire
    others = known.distances(counts[1::2])
    assert (others <= known.farthest).mean() == pytest.approx(0.95, abs=2e-3)


@pytest.mark.parametrize("count", [0, 1, TELLING - 1])
def test_few_pictures_do_not_say_what_is_far(count: int) -> None:
    counts = np.random.default_rng(0).poisson(9, (count, 4)).astype(np.int64)
    assert familiarity(counts, {"a": 4}) is None


@pytest.mark.parametrize("count", [TELLING, 60, 300])
def test_five_in_a_hundred_of_the_same_kind_are_far(count: int) -> None:
    """In the mean over samples, be they small: the quantile of a small sample is too near."""
    rng, shares = np.random.default_rng(count), []
    for _ in range(300):
        counts = rng.poisson(9, (count + 200, 8)).astype(np.int64)
        known = familiarity(counts[:count], {"a": 8})
        assert known is not None
        shares.append((known.distances(counts[count:]) > known.farthest).mean())
    assert 0.025 < np.mean(shares) < 0.055


def test_too_few_are_reported() -> None:
    error = {"before": 0.1, "after": 0.05}
    facts = {"temperature": 1, "floor": 0, "images": 15, "source": "pictures", "test_images": 9}
    facts |= {"calibration_error": error, "kept": 0.95, "unfamiliar": None, "learnt": False}
    assert confidence_lines(facts)[1].endswith("are not told: 15 are too few, 38 are needed")


@pytest.mark.parametrize(
    "facts",
    [
        {"settings": [1]},
        {"settings": {"validation": "x"}},
        {"settings": {"validation": 7}},
        {"settings": {"split_share": None}},
        {"settings": {"seed": 1.5}},
        {"settings": {"split_seed": 2**70}},
    ],
    ids=str,
)
def test_provenance_that_no_training_wrote_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="provenance: .* expected a"):
        split_of(facts)


def test_former_labels_are_names() -> None:
    assert trained_labels('{"trained_labels": ["a"]}') == ("a",) and trained_labels("{}") == ()
    for odd in ('{"trained_labels": 5}', '{"trained_labels": [5]}'):
        with pytest.raises(ModelError, match="trained_labels is"):
            trained_labels(odd)
