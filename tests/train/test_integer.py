"""T = 1 in integers: what is computed, what is learnt from it, and the stage around it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from refusals import refused
from same import assert_same
from torch import Tensor
from train.tiny import After, Recorder

from snn_train import api, checkpoint, integer
from snn_train.calibrate import set_thresholds
from snn_train.choices import BITS, RecipeName
from snn_train.data import DataSet
from snn_train.data.normalisation import Normalisation
from snn_train.experiment import Experiment
from snn_train.integer import IntegerNetwork, grid_scale, in_integers
from snn_train.layout import Architecture
from snn_train.muon import Muon
from snn_train.network import SpikingNetwork
from snn_train.optimiser import make_optimiser
from snn_train.parallel import ALONE
from snn_train.pretrained import Pretrained
from snn_train.progress import Progress
from snn_train.recipe import Recipe
from snn_train.records import TIMES, StageOutcome
from snn_train.schedule import INTEGER_FACTOR, peak
from snn_train.stage import Stage
from snn_train.state import Run, resume
from snn_train.training import Stopped, train_run

if TYPE_CHECKING:
    from train.conftest import Answer

NewRun = Callable[..., Run]
CPU = torch.device("cpu")
PIXELS = Normalisation((120, 119, 104), (63.0, 61.5, 66.25))
STAGES = (Stage(0, 1), Stage(1, 1), Stage(1, 2, 4))
STEPS = 12
"""Of a whole run of `STAGES`: 3 an epoch."""


def networks(
    recipe: RecipeName, name: str, bits: int
) -> tuple[SpikingNetwork, IntegerNetwork, Tensor]:
    """A T = 1 network, the integer network that begins with it, and normalised pictures."""
    torch.manual_seed(3)
    architecture = Architecture(name, recipe, 0.06, 0, 3, 12, 12)
    network = SpikingNetwork(architecture, 1)
    pictures = torch.randint(0, 256, (6, 12, 12, 3), dtype=torch.uint8)
    images: Tensor = PIXELS(pictures)
    for layer in network.populations():
        if layer.norm is not None and layer.norm.gain is not None:
            torch.nn.init.normal_(layer.norm.gain, 0.5, 0.5)  # of either sign
    set_thresholds(network, images, 70.0)
    return network.eval(), in_integers(network, bits, PIXELS), images


CASES: list[tuple[RecipeName, str]] = [("iir-bn", "vgg5"), ("iir", "vgg5"), ("iir-bn", "resnet12"),
                                   ("iir", "resnet12"), ("iir-bn", "resnet18_bn")]  # fmt: skip


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_a_fine_grid_computes_and_learns_what_the_network_does(
    recipe: RecipeName, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 2²⁰ steps rounding is nothing: the same spikes, currents and gradients as T = 1."""
    network, made, images = networks(recipe, name, 8)
    monkeypatch.setattr(made, "bits", 21)
    monkeypatch.setattr(integer, "FURTHEST", 2**50)
    with torch.no_grad():
        for layer in network.populations():  # thresholds away from where neurons lie by design
            layer.neuron.threshold.mul_(1.0371)
    made.load_state_dict(network.state_dict())
    network, made = network.double(), made.double()
    expected = network(images.double())
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # 2²⁰ steps need more than 24 bits
    found = made(images.double())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    for logits in (expected, found):
        logits.square().sum().backward()
    pairs = zip(network.named_parameters(), made.parameters(), strict=True)
    for (key, theirs), ours in pairs:
        if theirs.grad is None:
            assert key.endswith("leak") and ours.grad is None
            continue
        assert ours.grad is not None
        size = float(theirs.grad.abs().max())
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-2, atol=1e-3 * size + 1e-9)


@pytest.mark.parametrize("bits", BITS)
def test_all_that_is_compared_are_integers(bits: int) -> None:
    _, made, images = networks("iir", "resnet12", bits)
    largest = 2 ** (bits - 1) - 1
    for layer in made.populations():
        grid = made.grid(layer)
        for numbers in (*grid.weights, grid.threshold):
            assert torch.equal(numbers, numbers.round())
        peaks = torch.stack([w.abs().flatten(1).amax(1) for w in grid.weights]).amax(0)
        assert (peaks == largest).all()
    assert torch.equal(made.pixels(images), made.pixels(images).round())


def test_bfloat16_does_not_touch_the_sums() -> None:
    _, made, images = networks("iir-bn", "vgg5", 8)
    expected = made(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made(images), expected)


def test_gradients_are_computed_as_autocast_says() -> None:
    _, made, images = networks("iir-bn", "vgg5", 8)
    found = []
    for lower in (False, True):
        made.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=lower):
            made(images).square().sum().backward()
        found.append([layer.synapse.weight.grad for layer in made.populations()])
    for exact, near in zip(*found, strict=True):
        assert exact is not None and near is not None and near.dtype == torch.float32
        assert 0 < float((near - exact).norm()) <= 0.03 * float(exact.norm())


@pytest.mark.filterwarnings(  # of torch about itself
    "ignore:.*autograd.function.Function.*should not be instantiated:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)
def test_what_is_compiled_learns_the_same_from_the_same_integers(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path, only_traced: Callable[[], list[Any]]
) -> None:
    heard = Recorder(), Recorder()
    chosen: Any = {"stages": STAGES, "levels": 3, "dropout": 0.0, "rate_limits": (0.0, 15.0)}
    train_run(new_run(tmp_path / "plain", **chosen), tiny_data, heard[0])
    calls = only_traced()
    made = new_run(tmp_path / "compiled", **chosen)
    made.compiled = True
    train_run(made, tiny_data, heard[1])
    assert len(calls) == 5 and calls[3] is integer.fire  # three stages, and the teacher of two
    assert heard[1].losses == pytest.approx(heard[0].losses, rel=0.02)
    assert isinstance(made.network, IntegerNetwork) and made.network.fire is not integer.fire
    pictures = made.experiment.normalisation(torch.as_tensor(tiny_data.test_images))
    eager = in_integers(made.network, 4, made.experiment.normalisation).eval()
    assert torch.equal(made.network.eval()(pictures), eager(pictures))


def test_statistics_stay_as_they_are_in_training() -> None:
    network, made, images = networks("iir-bn", "vgg5", 4)
    made.train()(images)
    assert_same(dict(made.state_dict()), dict(network.state_dict()))


def test_one_scale_for_all_projections_and_one_for_no_weights() -> None:
    weights = [torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.tensor([[4.0], [0.0]])]
    assert grid_scale([w.double() for w in weights], 4).tolist() == [7 / 4, 1.0]


@pytest.mark.parametrize("bits", [0, 1, 5, 16])
def test_other_bits_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"integers of {bits} bits, expected 8, 6 or 4"):
        IntegerNetwork(Architecture("vgg5"), bits, PIXELS)


def test_muon_leaves_the_integer_stage_to_adamw() -> None:
    network, made, _ = networks("iir-bn", "resnet12", 4)
    settings = Recipe((Stage(0, 1),), optimiser="muon")
    assert network.normalised_weights() and not made.normalised_weights()
    optimiser = make_optimiser(made, settings)
    assert isinstance(optimiser, Muon)
    turned = [p for g in optimiser.param_groups if g.get("orthogonal") for p in g["params"]]
    assert turned == []


@pytest.mark.parametrize(
    "stages",
    [
        (Stage(0, 1), Stage(2, 1), Stage(1, 1, 4)),
        (Stage(0, 1), Stage(1, 1, 4)),
        (Stage(1, 1, 4), Stage(1, 1, 6)),
        (Stage(2, 1, 4),),
    ],
)
def test_integers_come_after_t1_and_last(stages: tuple[Stage, ...]) -> None:
    with pytest.raises(ValueError, match="integers"):
        Recipe(stages)


def test_settings_come_back_with_their_bits_and_without() -> None:
    settings = Recipe(STAGES)
    saved, network = settings.settings(), asdict(Architecture())
    assert saved["stages"] == [[0, 1], [1, 1], [1, 2, 4]]
    assert Recipe.from_dicts(network, saved) == settings
    older = saved | {"stages": [[0, 1], [1, 2]]}
    assert Recipe.from_dicts(network, older).stages[1] == Stage(1, 2)
    assert STAGES[2].name == "int4"


# The stage in a run


def left(directory: Path, *names: str) -> dict[str, Any]:
    """All that a run leaves, apart from how long it took."""
    found: dict[str, Any] = {n: checkpoint.load(directory / f"{n}.pt")["network"] for n in names}
    latest = checkpoint.load(directory / "latest.pt")
    for key in ("records", "outcomes"):
        found[key] = [{k: v for k, v in row.items() if k not in TIMES} for row in latest[key]]
    return found


@pytest.mark.parametrize(
    ("recipe", "network", "settings"),
    [
        ("iir-bn", "vgg5", {"optimiser": "muon"}),
        ("iir", "vgg5", {"optimiser": "adam"}),
        ("iir-bn", "resnet12", {"optimiser": "adamw"}),
        ("iir-bn", "vgg5", {"ema": 0.8}),
    ],
)
def test_stopped_after_every_step_a_run_ends_with_the_same_bits(
    new_run: NewRun,
    tiny_data: DataSet,
    tmp_path: Path,
    recipe: str,
    network: str,
    settings: dict[str, Any],
) -> None:
    def make(directory: Path) -> Run:
        return new_run(directory, recipe, network, stages=STAGES, **settings)

    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    train_run(make(whole), tiny_data, Progress())
    make(pieces).save()
    for _ in range(STEPS):
        with pytest.raises(Stopped):
            train_run(resume(pieces, CPU), tiny_data, Recorder(stopping=After(1)))
    train_run(resume(pieces, CPU), tiny_data, Progress())
    assert_same(left(pieces, "ann", "t1", "int4"), left(whole, "ann", "t1", "int4"))
    before, after = (checkpoint.load(whole / f"{n}.pt") for n in ("t1", "int4"))
    assert (before["bits"], after["bits"], after["timesteps"]) == (0, 4, 1)
    changed = [k for k in before["network"]
               if not torch.equal(before["network"][k], after["network"][k])]  # fmt: skip
    assert changed and not any("running" in key for key in changed)


def test_a_budget_of_spikes_holds_in_both_stages_at_t1(new_run: NewRun, tmp_path: Path) -> None:
    made = new_run(tmp_path, stages=STAGES, spike_rate=0.2)
    acting = []
    for stage in range(3):
        made.position.stage = stage
        acting.append(made.active_budget is not None)
    assert acting == [False, True, True]


def test_the_integer_stage_learns_at_a_lower_rate(
    new_run: NewRun, tiny_data: DataSet, tmp_path: Path
) -> None:
    made = new_run(tmp_path, stages=STAGES, constant=True, learning_rate=0.01)
    rates: dict[str, float] = {}

    def stop() -> bool:
        rates.setdefault(made.stage.name, made.optimiser.param_groups[0]["lr"])
        return False

    train_run(made, tiny_data, Recorder(stopping=stop))
    assert rates == {"ann": 0.01, "t1": 0.01, "int4": pytest.approx(0.01 * INTEGER_FACTOR)}


# From another run's T = 1 network


@pytest.fixture
def t1(new_run: NewRun, tiny_data: DataSet, tmp_path: Path) -> Path:
    """Of a run that went on to integers itself."""
    train_run(new_run(tmp_path / "first", stages=STAGES), tiny_data, Progress())
    return tmp_path / "first" / "t1.pt"


def onward(t1: Path, data: DataSet, **flags: Any) -> Experiment:
    given: dict[str, Any] = {"int_bits": 6, "epochs": (2,)} | flags
    return Pretrained.load(t1).continued(data, "train-snn --from", **given)


def test_a_run_begun_with_t1_goes_on_with_all_of_it(
    t1: Path, tiny_data: DataSet, tmp_path: Path
) -> None:
    """Also where it is stopped after every step, and the first run is gone."""

    def make(directory: Path) -> Run:
        directory.mkdir()
        made = onward(t1, tiny_data)
        return Pretrained.load(t1).start(made, tiny_data, directory, CPU, ALONE)

    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    made = make(whole)
    assert isinstance(made.network, IntegerNetwork) and made.network.bits == 6
    assert_same(dict(made.network.state_dict()), checkpoint.load(t1)["network"])
    make(pieces).save()
    history = checkpoint.load(t1)["history"][:2]
    t1.unlink()
    train_run(made, tiny_data, Progress())
    assert [outcome.stage for outcome in made.outcomes] == ["ann", "t1", "int6"]
    assert made.outcomes[:2] == [StageOutcome.from_dict(row) for row in history]
    assert made.outcomes[2].test is not None
    for _ in range(6):
        with pytest.raises(Stopped):
            train_run(resume(pieces, CPU), tiny_data, Recorder(stopping=After(1)))
    train_run(resume(pieces, CPU), tiny_data, Progress())
    assert_same(left(pieces, "t1", "int6"), left(whole, "t1", "int6"))


def test_what_the_network_is_comes_from_the_file(t1: Path, tiny_data: DataSet) -> None:
    before, after = (
        Pretrained.load(t1).experiment,
        onward(t1, tiny_data, batch_size=7, learning_rate=0.5),
    )
    for name in ("architecture", "labels", "fit", "normalisation"):
        assert getattr(after, name) == getattr(before, name)
    assert after.recipe.stages == (Stage(1, 2, 6),) and after.recipe.teacher == "t1"
    assert (after.recipe.batch_size, peak(after.recipe, Stage(1, 2, 6))) == (7, 0.5)
    assert after.recipe.seed == before.recipe.seed
    assert after.command == "train-snn && train-snn --from"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"epochs": (2, 3)}, "--epochs 2,3: expected one number"),
        ({"optimiser": "sgd"}, "--optimiser sgd: needs --learning-rate"),
        ({"regulariser": "hoyer"}, "--regulariser hoyer: needs the rate"),
        ({"seed": 1}, "--seed: has no effect on the classes of"),
        ({"fine_tune": 0.5}, "--fine-tune: has no effect on the classes of"),
    ],
)
def test_flags_that_do_not_fit_the_file_are_refused(
    t1: Path, tiny_data: DataSet, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        onward(t1, tiny_data, **flags)


def test_the_precision_is_that_of_the_machine_that_goes_on(t1: Path, tiny_data: DataSet) -> None:
    """A network that a GPU trained in bfloat16 meets a processor that only emulates it."""
    assert onward(t1, tiny_data, fast="bfloat16").recipe.precision == "bfloat16"
    assert onward(t1, tiny_data, fast="float32").recipe.precision == "float32"
    asked = onward(t1, tiny_data, fast="float32", precision="bfloat16")
    assert asked.recipe.precision == "bfloat16"  # the teacher's and Muon's


# The command


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--int-bits", "5"], ["--int-bits: invalid choice"]),
        (["--int-bits", "4", "--timesteps", "5,2"], ["--int-bits 4: needs --timesteps that end"]),
        (["--int-bits", "4", "--timesteps", "1", "--epochs", "1,1,1,1"], ["at most 3 numbers"]),
        *(
            (["--from", "t1.pt", "--int-bits", "4", flag, value], [f"{flag} cannot change"])
            for flag, value in (("--network", "vgg5"), ("--recipe", "iir-bn"), ("--width", "1"),
                                ("--timesteps", "1"), ("--fit", "crop"),
                                ("--image-size", "8x8"), ("--percentile", "9"))
        ),
    ],
)  # fmt: skip
def test_a_wrong_flag_is_one_line(
    refused_unbegun: Callable[..., None], flags: list[str], expected: list[str]
) -> None:
    refused_unbegun("--data", "digits", *flags, expected=expected)


def test_files_and_data_that_do_not_fit_are_refused(
    train_snn: Callable[..., "Answer"], t1: Path, tmp_path: Path
) -> None:
    def begun(file: Path) -> "Answer":
        return train_snn("--data", "digits", "--from", file, "--int-bits", 4, "--out", tmp_path)

    refused(begun(tmp_path / "none.pt"), 5, "no such file")
    refused(begun(t1.with_name("ann.pt")), 5, "ann.pt: is at T=0, --from needs T=1")
    content = checkpoint.load(t1)
    checkpoint.save(t1, content | {"bits": 4})
    refused(begun(t1), 5, "is trained in integers already")
    del content["history"]
    checkpoint.save(t1, content)
    refused(begun(t1), 5, "has no 'history'")


@pytest.mark.parametrize(
    ("flags", "stages"),
    [
        ([], [[0, 15], [1, 57], [1, 4, 6]]),
        (["--epochs", "7"], [[0, 7], [1, 7], [1, 4, 6]]),
        (["--epochs", "7,8"], [[0, 7], [1, 8], [1, 4, 6]]),
        (["--epochs", "7,8,9"], [[0, 7], [1, 8], [1, 9, 6]]),
    ],
)
def test_epochs_may_count_the_integer_stage(
    train_snn: Callable[..., "Answer"],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    flags: list[str],
    stages: list[list[int]],
) -> None:
    monkeypatch.setattr(api, "train_run", lambda *_: None)
    answer = train_snn("--data", "digits", "--out", tmp_path, "--format", "json",
                       "--timesteps", "1", "--int-bits", 6, *flags)  # fmt: skip
    assert answer.code == 0, answer.err
    assert checkpoint.load(tmp_path / "latest.pt")["settings"]["stages"] == stages
