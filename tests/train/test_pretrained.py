"""A trained network learns other classes: it is kept to the spike, and its readout is new."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from in_memory import in_memory

from snn_export import exporting, trained
from snn_export.calibration import held_out
from snn_runtime.errors import ModelError
from snn_runtime.graph.reference import run as interpret
from snn_runtime.image import prepare
from snn_runtime.model_file import read_file
from snn_train import checkpoint, exported, pretrained
from snn_train.batches import Split
from snn_train.calibrate import renormalise
from snn_train.data import DataSet
from snn_train.data.augmentation import Augmentation
from snn_train.data.selecting import held_out_of
from snn_train.defaults import default_recipe
from snn_train.experiment import digest
from snn_train.few import LEAST_SEEN, default, for_few
from snn_train.network import SpikingNetwork
from snn_train.optimiser import make_optimiser, method
from snn_train.parallel import ALONE
from snn_train.pretrained import FINE_TUNE, Pretrained
from snn_train.progress import Progress
from snn_train.schedule import peak
from snn_train.stage import Stage
from snn_train.stages import judge_first
from snn_train.state import Run
from snn_train.teacher import load_stage
from snn_train.training import train_run
from snn_train.validation import evaluate

if TYPE_CHECKING:
    from train.conftest import Answer

NewRun = Callable[..., Run]
CPU = torch.device("cpu")
CAT = Path(__file__).parents[2] / "runtime" / "photos" / "cat.jpg"
STAGES = (Stage(0, 1), Stage(1, 1))


@pytest.fixture
def t1(new_run: NewRun, tiny_data: DataSet, tmp_path: Path) -> Callable[..., Path]:
    """The T = 1 network of a short run."""

    def make(recipe: str = "iir-bn", **settings: Any) -> Path:
        made = new_run(
            tmp_path / "first", recipe, stages=STAGES, rate_limits=(0.0, 15.0), **settings
        )
        train_run(made, tiny_data, Progress())
        return tmp_path / "first" / "t1.pt"

    return make


def model(file: Path, **flags: Any) -> Path:
    path = file.with_name("model.onnx")
    exporting.export(trained.load(file), path, **flags)
    return path


@pytest.fixture
def other_data(tiny_data: DataSet) -> DataSet:
    """The same pictures under three other names."""
    labels = torch.arange(40) % 3
    return replace(tiny_data, labels=("a", "b", "c"), train_labels=labels, test_labels=labels[:12])


@pytest.fixture
def many(tiny_data: DataSet) -> DataSet:
    """Ten times as many pictures, each its own."""
    drawn = np.random.default_rng(3).integers(0, 256, (400, 8, 8, 3), np.uint8)
    return replace(
        tiny_data,
        train_images=torch.from_numpy(drawn),
        train_labels=tiny_data.train_labels.repeat(10),
    )


def pictures() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)


def sent(network: SpikingNetwork, images: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {"image": images}
    with torch.no_grad():
        for layer in network.eval().populations():
            found[layer.plan.name] = network.send(layer, found)
    return found


@pytest.mark.parametrize(("bits", "hidden", "levels"), [(8, 0, 1), (4, 6, 1), (4, 0, 3)])
def test_an_exported_network_comes_back_to_the_spike(
    t1: Callable[..., Path], bits: int, hidden: int, levels: int
) -> None:
    path = model(t1(width=0.3, hidden=hidden, levels=levels), bits=bits)
    images = pictures()
    graph = read_file(path.read_bytes()).graph
    expected = interpret(graph, images)
    begun = Pretrained.load(path)
    network = begun.experiment.restore(1, 0, begun.content["network"])
    seen = begun.experiment.normalisation(torch.from_numpy(images))
    for measured in (False, True):
        if measured:
            renormalise(network, seen)
            first = network.populations()[0].norm
            assert first is not None and first.running_var is not None
            assert float(first.running_var.min()) != pytest.approx(1)
        values = sent(network, seen)
        for layer in network.populations():
            name = layer.plan.name
            whole = torch.from_numpy(expected.spikes[name].astype(np.float32))
            if layer.plan.pool > 1:
                whole = torch.nn.functional.max_pool2d(whole, layer.plan.pool)
            assert torch.equal(values[name], whole)
        with torch.no_grad():
            logits = network(seen).numpy()
        np.testing.assert_allclose(logits, expected.logits, rtol=1e-5, atol=1e-5)


def test_the_bundled_network_can_be_taught() -> None:
    begun = Pretrained.load(Path("bundled"))
    network = begun.experiment.restore(1, 0, begun.content["network"]).eval()
    picture = torch.from_numpy(prepare(CAT, *begun.experiment.size)[0][np.newaxis])
    with torch.no_grad():
        answer = int(network(begun.experiment.normalisation(picture)).argmax())
    assert begun.experiment.labels[answer] == "cat"


def test_an_exported_network_goes_on_in_the_same_integers(
    t1: Callable[..., Path], tiny_data: DataSet, tmp_path: Path
) -> None:
    path = model(t1(width=0.3), bits=4)
    begun = Pretrained.load(path)
    onward = begun.continued(tiny_data, "train-snn", int_bits=4, epochs=(1,))
    (tmp_path / "onward").mkdir()
    made = begun.start(onward, tiny_data, tmp_path / "onward", CPU, ALONE)
    made.network.eval()
    images = pictures()
    expected = interpret(read_file(path.read_bytes()).graph, images).logits
    with torch.no_grad():
        logits = made.network(onward.normalisation(torch.from_numpy(images))).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    train_run(made, tiny_data, Progress())
    assert [outcome.stage for outcome in made.outcomes] == ["int4"]


def test_other_classes_get_a_new_readout_and_keep_the_rest(
    t1: Callable[..., Path], other_data: DataSet, tmp_path: Path
) -> None:
    begun = Pretrained.load(t1())
    onward = begun.continued(other_data, "train-snn --from", epochs=(2, 3), int_bits=6)
    assert onward.recipe.stages == (Stage(1, 2), Stage(1, 3, 6)) and onward.labels == (
        "a",
        "b",
        "c",
    )
    assert onward.recipe.width == begun.experiment.recipe.width
    assert onward.normalisation == begun.experiment.normalisation
    (tmp_path / "onward").mkdir()
    made = begun.start(onward, other_data, tmp_path / "onward", CPU, ALONE)
    for name, value in made.network.state_dict().items():
        before = begun.content["network"][name]
        assert name.startswith("readout.") or torch.equal(value, before)
    assert made.network.readout.weight.shape[0] == 3
    train_run(made, other_data, Progress())
    assert [outcome.stage for outcome in made.outcomes] == ["t1", "int6"]
    assert trained.load(tmp_path / "onward" / "int6.pt").labels == ("a", "b", "c")


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_what_was_learnt_learns_on_more_slowly(
    t1: Callable[..., Path], other_data: DataSet, optimiser: str
) -> None:
    begun = Pretrained.load(t1())
    made = begun.continued(other_data, "", optimiser=optimiser, learning_rate=0.1)
    network = made.build(1, 0)
    new = {id(parameter) for parameter in network.readout.parameters()}
    usual = make_optimiser(network, replace(made.recipe, fine_tune=1.0)).param_groups
    rates = {id(p): group["lr_factor"] for group in usual for p in group["params"]}
    slower = make_optimiser(network, made.recipe).param_groups
    seen = set()
    for group in slower:
        for parameter in group["params"]:
            factor = 1.0 if id(parameter) in new else FINE_TUNE
            assert group["lr_factor"] == pytest.approx(factor * rates[id(parameter)])
            seen.add(id(parameter))
    assert seen == {id(parameter) for parameter in network.parameters()}
    behind = replace(made.recipe, stages=(Stage(0, 1), Stage(1, 1)))  # not the first stage
    assert [g["lr_factor"] for g in make_optimiser(network, behind).param_groups] == [
        g["lr_factor"] for g in usual
    ]


def test_the_same_classes_keep_their_readout(
    t1: Callable[..., Path], tiny_data: DataSet, tmp_path: Path
) -> None:
    begun = Pretrained.load(t1())
    onward = begun.continued(tiny_data, "train-snn", epochs=(1,), fine_tune=0.5)
    made = begun.start(onward, tiny_data, tmp_path, CPU, ALONE)
    assert onward.recipe.fine_tune == 0.5 and made.outcomes == []
    weights = begun.content["network"]
    assert all(torch.equal(v, weights[k]) for k, v in made.network.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "iir"}, "is of recipe iir"),
        ({"network": "resnet12"}, "conv2 adds currents"),
    ],
)
def test_what_has_no_way_back_is_refused_by_name(
    t1: Callable[..., Path], settings: dict[str, Any], message: str
) -> None:
    path = model(t1(**settings))
    with pytest.raises(ModelError, match=f"{message}.*; name the t1.pt"):
        exported.load(str(path))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"epochs": (1, 2)}, "--epochs 1,2: expected one number"),
        ({"epochs": (1,), "int_bits": 4}, "--epochs 1: expected 2 numbers"),
        ({"distillation": 0.3}, "--distillation: has no effect without a stage behind T=1"),
    ],
)
def test_flags_that_do_not_fit_are_refused(
    t1: Callable[..., Path], other_data: DataSet, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Pretrained.load(t1()).continued(other_data, "", **flags)


def test_the_command_teaches_a_trained_network_other_classes(
    train_snn: Callable[..., "Answer"], t1: Callable[..., Path], tmp_path: Path
) -> None:
    flags = ("--data", "digits", "--from", t1(), "--epochs", 1, "--threads", 1)
    answer = train_snn(*flags, "--fine-tune", 0.5, "--rate-limits", "0,1", "--out", tmp_path / "on")
    assert answer.code == 0, answer.err
    content = checkpoint.load(tmp_path / "on" / "t1.pt")
    assert content["labels"] == list("0123456789") and content["settings"]["fine_tune"] == 0.5


def test_what_selects_is_never_what_was_learnt(
    t1: Callable[..., Path], tiny_data: DataSet, other_data: DataSet, tmp_path: Path
) -> None:
    begun = Pretrained.load(t1(seed=3))
    for int_bits in (0, 4):
        changes: dict[str, Any] = {} if int_bits else {"seed": 5}
        made = begun.continued(tiny_data, "", int_bits=int_bits, **changes)
        assert made.recipe.split == (0.1, 3, 1.0) and made.recipe.seed == (3 if int_bits else 5)
    selecting = tiny_data.split(0.1, 3)[1]
    run = begun.start(made, tiny_data, tmp_path, CPU, ALONE)
    held = in_memory(Split(run, tiny_data).held_out)
    assert torch.equal(held, in_memory(tiny_data.train_images)[selecting])
    facts = {"settings": made.recipe.settings(), "data_digest": made.data_digest}
    assert torch.equal(held_out(facts, tiny_data)[0], selecting)
    assert begun.continued(other_data, "", seed=5).recipe.split == (0.1, 5, 1.0)  # none was seen
    exported_ = Pretrained.load(model(tmp_path / "first" / "t1.pt"))
    assert exported_.continued(tiny_data, "", seed=5).recipe.split == (0.1, 3, 1.0)
    with pytest.raises(ValueError, match="validation 0.3: .* held out 0.1 of these .* at most 0.1"):
        begun.continued(tiny_data, "", validation=0.3)
    with pytest.raises(ValueError, match="split_share: what selects was chosen by the run whose"):
        begun.continued(tiny_data, "", split_share=0.3)


@pytest.mark.parametrize("int_bits", [0, 4])
def test_of_what_selected_a_part_may_still_select(
    t1: Callable[..., Path], many: DataSet, other_data: DataSet, tmp_path: Path, int_bits: int
) -> None:
    begun = Pretrained.load(t1(seed=3))
    begun = replace(begun, experiment=replace(begun.experiment, data_digest=digest(many)))
    made = begun.continued(many, "", int_bits=int_bits, validation=0.04)
    assert made.recipe.split == (0.1, 3, 0.4)
    trained, selecting = many.split(*made.recipe.split)
    before = many.split(0.1, 3)[1]
    assert (len(trained), len(selecting), len(before)) == (384, 16, 40)
    assert {*selecting.tolist()} < {*before.tolist()}
    run = begun.start(made, many, tmp_path, CPU, ALONE)
    split = Split(run, many)
    assert torch.equal(in_memory(split.held_out), in_memory(many.train_images)[selecting])
    assert torch.equal(in_memory(split.images), in_memory(many.train_images)[trained])
    facts = {"settings": made.recipe.settings(), "data_digest": made.data_digest}
    assert torch.equal(held_out(facts, many)[0], selecting)
    assert len(held_out(facts, other_data)[0]) == len(other_data.train_labels)

    again = replace(begun, experiment=made)  # as a file that this run has written
    assert again.continued(many, "", int_bits=int_bits).recipe.split == (0.1, 3, 0.4)
    last = again.continued(many, "", int_bits=int_bits, validation=0.02).recipe.split
    assert last == (0.1, 3, 0.2) and {*many.split(*last)[1].tolist()} < {*selecting.tolist()}
    with pytest.raises(ValueError, match="held out 0.04 of these .* at most 0.04"):
        again.continued(many, "", int_bits=int_bits, validation=0.05)
    elsewhere = again.continued(other_data, "", int_bits=int_bits, validation=0.05).recipe
    assert elsewhere.split == (0.05, elsewhere.seed, 1.0)  # no picture of it was seen


def test_at_most_five_thousand_pictures_select(other_data: DataSet) -> None:
    """A tenth is more than that of a million; a part is counted from what was held out."""
    labels = torch.arange(100_000) % 2
    large = replace(other_data, train_labels=labels)
    assert held_out_of(100_000, 0.1) == 0.05 and len(large.split(0.1, 0)[1]) == 5000
    assert len(large.split(0.1, 0, 0.2)[1]) == 1000


@pytest.mark.parametrize("bits", [0, 4])
def test_a_teacher_that_answers_once_is_refused_where_it_would_be_wrong(
    t1: Callable[..., Path], tiny_data: DataSet, bits: int
) -> None:
    begun, changes = Pretrained.load(t1()), dict[str, Any]()
    for changes, message in (
        ({"augmentation": Augmentation(mixup=50)}, "mixes two pictures"),
        ({"distillation": 0.0}, "nothing is learnt from a teacher"),
    ):
        with pytest.raises(ValueError, match=message if bits else "has no effect without a stage"):
            begun.continued(tiny_data, "", int_bits=bits, cached_teacher=True, **changes)


def test_a_refused_state_can_be_gone_on_with(
    t1: Callable[..., Path], tiny_data: DataSet, tmp_path: Path
) -> None:
    content = checkpoint.load(t1())
    before = [row for row in content["history"] if row["stage"] != "t1"]
    checkpoint.save(tmp_path / "t1-refused.pt", content | {"history": before})
    begun = Pretrained.load(tmp_path / "t1-refused.pt")
    made = begun.continued(tiny_data, "", int_bits=4)
    run = begun.start(made, tiny_data, tmp_path, CPU, ALONE)
    assert [outcome.stage for outcome in run.outcomes] == ["ann", "t1"]


def test_in_integers_all_layers_learn_at_one_rate(
    t1: Callable[..., Path], tiny_data: DataSet, other_data: DataSet, tmp_path: Path
) -> None:
    """The file's run may have begun with a network that learnt at another one."""
    begun = Pretrained.load(t1(fine_tune=0.2))
    for data in (tiny_data, replace(other_data, labels=tiny_data.labels)):
        made = begun.continued(data, "", int_bits=4)
        run = begun.start(made, data, tmp_path, CPU, ALONE)
        assert {group["lr_factor"] for group in run.optimiser.param_groups} == {1.0}


def test_the_gate_compares_with_what_the_network_is_on_these_pictures(
    t1: Callable[..., Path], tiny_data: DataSet, tmp_path: Path
) -> None:
    file = t1(width=0.3)
    wrong = replace(tiny_data, train_labels=1 - tiny_data.train_labels)
    for data, begin_with in ((tiny_data, file), (wrong, file), (wrong, model(file))):
        begun = Pretrained.load(begin_with)
        made = begun.continued(data, "", int_bits=8, epochs=(1,))
        run = begun.start(made, data, tmp_path, CPU, ALONE)
        judge_first(run, data)
        network, split = load_stage(run, "t1"), Split(run, data)
        accuracy, rates = evaluate(network, split.held_out, split.held_out_labels, run)
        assert (run.outcomes[-1].stage, run.outcomes[-1].validation) == ("t1", accuracy)
        assert run.outcomes[-1].rates == rates
        assert len(run.outcomes) == (2 if data is tiny_data else 1)


def test_a_rate_that_is_given_is_that_of_the_spiking_stages(
    t1: Callable[..., Path], tiny_data: DataSet
) -> None:
    begun = Pretrained.load(t1("iir", hidden=0, distillation=0.0))
    data = replace(tiny_data, name="imagenet:photos")  # whose recipe has a rate for them alone
    plain = Augmentation()
    recipe = begun.continued(data, "", learning_rate=0.03, augmentation=plain).recipe
    assert peak(recipe, recipe.stages[0]) == 0.03


def test_the_rate_of_a_file_is_for_the_optimiser_of_its_spiking_stages(
    t1: Callable[..., Path], tiny_data: DataSet
) -> None:
    adam = {"spiking_optimiser": "adam", "spiking_learning_rate": 2e-5, "optimiser": "sgd"}
    begun = Pretrained.load(t1(**adam))
    named: dict[str, Any] = {"optimiser": "adam"}
    for changes in (dict[str, Any](), named):
        recipe = begun.continued(tiny_data, "", int_bits=4, **changes).recipe
        assert (method(recipe, 1)[0], peak(recipe, recipe.stages[0])) == ("adam", 2e-5)
    with pytest.raises(ValueError, match="--optimiser sgd: needs --learning-rate, .* for adam"):
        begun.continued(tiny_data, "", int_bits=4, optimiser="sgd")


def test_normalisations_are_measured_on_all_classes(
    t1: Callable[..., Path], tiny_data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of pictures in the order of their classes, a few more than are measured."""
    labels = torch.arange(800) // 400
    shades = (50 + 150 * labels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 8, 8, 3).contiguous()
    data = replace(tiny_data, train_images=shades, train_labels=labels)
    begun = Pretrained.load(model(t1(width=0.3)))
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(pretrained, "renormalise", lambda _, images: seen.append(images))
    begun._weights(data)
    dark = seen[0].mean((1, 2, 3)) < seen[0].mean()
    assert len(dark) == pretrained.MEASURED and int(dark.sum()) == pretrained.MEASURED // 2


def test_the_drop_that_may_be_is_that_of_the_pictures_that_select(many: DataSet) -> None:
    data = replace(many, name="imagefolder:photos")
    drops = [default("iir-bn", data, share).largest_drop for share in (None, 0.02, 0.5)]
    assert drops[1] > drops[0] > drops[2]


def test_few_pictures_are_seen_often_in_small_batches() -> None:
    recipe = default_recipe("iir-bn", "imagefolder:photos", 32)
    for pictures_, batch in ((30, 16), (150, 16), (600, 64), (1500, 128), (50_000, 256)):
        few = for_few(recipe, pictures_, pictures_ // 10)
        assert few.batch_size == batch
        for stage, before in zip(few.stages, recipe.stages, strict=True):
            assert stage.epochs >= before.epochs and stage.epochs * pictures_ >= LEAST_SEEN
        assert few.change(int_bits=4).stages[-1].epochs * pictures_ >= LEAST_SEEN
        assert few.change(int_bits=4, epochs=(1, 1, 2)).stages[-1].epochs == 2
    assert for_few(recipe, 50_000, 5_000) == recipe
    assert [for_few(recipe, 50_000, n).largest_drop for n in (10, 100, 999)] == [0.29, 0.16, 0.12]
