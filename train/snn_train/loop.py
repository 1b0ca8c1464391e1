"""The training loop: stages, epochs, steps, and the gate between one stage and the next."""

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from snn_runtime.errors import DivergedError
from snn_train import checkpoint
from snn_train.augment import augment
from snn_train.budget import recorded, watch
from snn_train.calibrate import descend, set_thresholds, settle
from snn_train.data import DataSet
from snn_train.integer import in_integers
from snn_train.network import SpikingNetwork
from snn_train.run import Best, Position, Run, copy_weights, first_best, make_optimiser
from snn_train.schedule import RETRIES, Settings, gate, learning_rate

EVALUATION_BATCH = 500
CALIBRATION_IMAGES = 512
SETTLING_BATCHES = 24
SAVE_EVERY = 60.0
"""Seconds of training that a power cut may cost."""
TEMPERATURE = 2.0
"""Softens both outputs in distillation (Hinton et al. 2015)."""


class Display(Protocol):
    """What the loop tells while it runs."""

    def steps(self, items: Iterable[int], run: Run, total: int) -> Iterable[int]: ...
    def epoch(self, record: dict[str, Any]) -> None: ...
    def note(self, text: str) -> None: ...


class Stopped(Exception):
    """A signal asked the run to stop; its state is saved."""


def train(run: Run, data: DataSet, display: Display, stop: Callable[[], bool]) -> None:
    """Carry `run` on to its end, leaving `ann.pt`, `t5.pt`, … behind.

    Args:
        stop: asked after every step; True saves the state and raises `Stopped`.

    Raises:
        Stopped: as asked.
        DivergedError: a stage failed its gate three retries in a row.
        ResourceError: a checkpoint cannot be written.
    """
    pixels = _Pixels(run, data)
    while not run.finished:
        _train_stage(run, pixels, display, stop)
    _test(run, data)


class _Pixels:
    """The data set on the training device, split into what is trained on and what selects."""

    def __init__(self, run: Run, data: DataSet) -> None:
        settings = run.experiment.settings
        device = next(run.network.parameters()).device
        trained, held_out = data.split(settings.validation, settings.seed)
        self.images = data.train_images[trained].to(device)
        self.labels = data.train_labels[trained].to(device)
        self.held_out = data.train_images[held_out].to(device)
        self.held_out_labels = data.train_labels[held_out].to(device)
        self.batch = min(settings.batch_size, len(self.images))
        self.steps = len(self.images) // self.batch


def _train_stage(run: Run, pixels: _Pixels, display: Display, stop: Callable[[], bool]) -> None:
    teacher = _teacher(run)
    while problem := _train_epochs(run, pixels, teacher, display, stop) or _problem(run):
        _retry(run, problem, display)
    _finish_stage(run, pixels)


def _train_epochs(
    run: Run,
    pixels: _Pixels,
    teacher: SpikingNetwork | None,
    display: Display,
    stop: Callable[[], bool],
) -> str:
    """Train to the end of the stage, or return what went wrong on the way."""
    while run.position.epoch < run.stage.epochs:
        mean_loss = _train_epoch(run, pixels, teacher, display, stop)
        if not math.isfinite(mean_loss):
            return "loss is not finite"
        _validate(run, pixels, mean_loss, display)
        at = run.position
        run.position = Position(at.stage, at.attempt, at.epoch + 1)
        run.save()
    return ""


def _train_epoch(
    run: Run,
    pixels: _Pixels,
    teacher: SpikingNetwork | None,
    display: Display,
    stop: Callable[[], bool],
) -> float:
    """Train from the run's step to the end of its epoch and return the mean loss."""
    at, network = run.position, run.network
    order = torch.randperm(len(pixels.images), generator=run.random("order"))
    loss_sum = torch.tensor(at.loss, dtype=torch.float64, device=pixels.images.device)
    total = pixels.steps * run.stage.epochs
    begun = saved = time.monotonic() - at.seconds
    network.train()
    for step in display.steps(range(at.step, pixels.steps), run, pixels.steps):
        at.step = step
        run.seed_dropout()
        chosen = order[step * pixels.batch : (step + 1) * pixels.batch].to(pixels.images.device)
        images = _batch(run, pixels.images[chosen], step)
        done = at.epoch * pixels.steps + step
        loss_sum += _step(run, images, pixels.labels[chosen], teacher, done, total)
        at.step, at.seconds = step + 1, time.monotonic() - begun
        if stop() or time.monotonic() - saved > SAVE_EVERY:
            at.loss, saved = float(loss_sum), time.monotonic()
            run.save()
            if stop():
                raise Stopped
    return float(loss_sum) / pixels.steps


def _step(
    run: Run,
    images: Tensor,
    labels: Tensor,
    teacher: SpikingNetwork | None,
    done: int,
    total: int,
) -> Tensor:
    """One descent along the gradient, `done` of `total` behind it; returns the loss."""
    settings, budget = run.experiment.settings, run.budget
    rate = learning_rate(settings, run.stage.timesteps, done, total, run.position.attempt)
    rate *= run.stage.share
    for group in run.optimiser.param_groups:
        group["lr"] = rate * group.get("share", 1.0)
    if budget:
        watch(run.network, settings.regulariser)
    with _autocast(settings, images.device):
        logits = run.network(images).float()
        wanted = None
        if teacher is not None:
            with torch.no_grad():
                wanted = teacher(images).float()
    loss = _loss(logits, labels, wanted, settings)
    cost = loss + budget.charge(*recorded(run.network), done, total) if budget else loss
    run.optimiser.zero_grad(set_to_none=True)
    cost.backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
    run.optimiser.step()
    run.network.clamp()
    return loss.detach()


def _loss(logits: Tensor, labels: Tensor, wanted: Tensor | None, settings: Settings) -> Tensor:
    """(1 − α) CE(logits, label) + α τ² KL(teacher/τ ‖ logits/τ), α the share of distillation."""
    loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
    if wanted is None:
        return loss
    divergence = F.kl_div(
        F.log_softmax(logits / TEMPERATURE, 1),
        F.log_softmax(wanted / TEMPERATURE, 1),
        reduction="batchmean",
        log_target=True,
    )
    share = settings.distillation
    return (1 - share) * loss + share * TEMPERATURE**2 * divergence


def _batch(run: Run, images: Tensor, step: int) -> Tensor:
    normalisation = run.experiment.normalisation
    generator = run.random("augmentation", step)
    chosen = run.experiment.settings.augmentation
    return normalisation(augment(images, chosen, normalisation.offset, generator))


def _autocast(settings: Settings, device: torch.device) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")


def _teacher(run: Run) -> SpikingNetwork | None:
    """The run's teacher, for the spiking stages of a recipe that distils."""
    if not run.stage.timesteps or not run.experiment.settings.distillation:
        return None
    return _network_of(run, run.experiment.settings.teacher).eval()


def _network_of(run: Run, stage: str) -> SpikingNetwork:
    """The network that a finished stage left behind, on the run's device."""
    device = next(run.network.parameters()).device
    content = checkpoint.load(stage_file(run, stage), device)
    network = run.experiment.build(content["timesteps"], content.get("bits", 0))
    network.load_state_dict(content["network"])
    return network.to(device)


@torch.no_grad()
def evaluate(
    network: SpikingNetwork, images: Tensor, labels: Tensor, run: Run
) -> tuple[float, dict[str, float]]:
    """Return accuracy (0 to 1) and each layer's firing rate, in float32."""
    network.eval()
    correct, rates = 0, dict.fromkeys((p.plan.name for p in network.populations()), 0.0)
    for start in range(0, len(labels), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        network.rates = {}
        logits = network(run.experiment.normalisation(images[part]))
        correct += int((logits.argmax(1) == labels[part]).sum())
        for name, rate in network.rates.items():
            rates[name] += float(rate) * len(logits) / len(labels)
    network.rates = None
    return correct / len(labels), rates


def _validate(run: Run, pixels: _Pixels, mean_loss: float, display: Display) -> None:
    at = run.position
    accuracy, rates = evaluate(run.network, pixels.held_out, pixels.held_out_labels, run)
    rate = run.network.spike_rate(rates) if run.stage.timesteps else None
    record = {
        "stage": run.stage.name,
        "attempt": at.attempt,
        "epoch": at.epoch + 1,
        "epochs": run.stage.epochs,
        "loss": mean_loss,
        "validation": accuracy,
        "spike_rate": rate,
        "rates": rates,
        "seconds": round(at.seconds, 3),
        "images_per_second": round(pixels.steps * pixels.batch / max(at.seconds, 1e-9), 1),
    }
    if run.budget and rate is not None:
        record |= {"target": run.budget.target, "strength": float(run.budget.strength())}
        run.budget.correct(rate)
    run.records.append(record)
    display.epoch(record)
    _keep_if_best(run, accuracy, rates, at.epoch)


def _keep_if_best(run: Run, accuracy: float, rates: dict[str, float], epoch: int) -> bool:
    """Make the network's weights the stage's best state if they are healthy and no worse: nearer
    to the budget, or as near and as accurate."""
    healthy = not gate(run.stage.timesteps, rates, accuracy, None, 1.0)
    distance, before = _distance(run, rates), _distance(run, run.best.rates)
    no_worse = accuracy >= run.best.accuracy if distance == before else distance < before
    better = healthy and no_worse
    if better:
        run.best = Best(accuracy, epoch, rates, copy_weights(run.network))
    return better


def _distance(run: Run, rates: dict[str, float]) -> float:
    """How far `rates` are from the budget; 0 where none was asked for."""
    if not run.budget:
        return 0.0
    return run.budget.distance(run.network.spike_rate(rates)) if rates else math.inf


def _problem(run: Run) -> str:
    """Why the stage may not pass on; empty if it may."""
    if run.best.epoch < 0:  # no epoch was healthy: say what was wrong with the last one
        last = run.records[-1]
        return gate(run.stage.timesteps, last["rates"], last["validation"], None, 1.0)
    before = run.outcomes[-1]["validation"] if run.stage.timesteps and run.outcomes else None
    drop = run.experiment.settings.largest_drop
    problem = gate(run.stage.timesteps, run.best.rates, run.best.accuracy, before, drop)
    if run.budget and not problem:
        problem = run.budget.problem(run.network.spike_rate(run.best.rates))
    return problem


def _retry(run: Run, problem: str, display: Display) -> None:
    """Go back to the stage's best state and try again, gentler."""
    stage, attempt = run.stage, run.position.attempt
    if attempt == RETRIES:
        raise DivergedError(
            "diverged", f"stage {stage.name} failed {RETRIES + 1} times, the last time: {problem}"
        )
    display.note(f"{stage.name}: {problem}; back to its best state, learning rate halved")
    run.network.load_state_dict(run.best.weights)
    run.optimiser = make_optimiser(run.network, run.experiment.settings)
    run.position = Position(run.position.stage, attempt + 1)
    run.save()


def _finish_stage(run: Run, pixels: _Pixels) -> None:
    """Keep the stage's best state as a checkpoint and make the next stage's network from it."""
    mine = [r for r in run.records if r["stage"] == run.stage.name]
    run.network.load_state_dict(run.best.weights)
    _settle(run, pixels)
    outcome = {
        "stage": run.stage.name,
        "timesteps": run.stage.timesteps,
        "bits": run.stage.bits,
        "validation": run.best.accuracy,
        "test": None,
        "spike_rate": run.network.spike_rate(run.best.rates) if run.stage.timesteps else None,
        "rates": run.best.rates,
        "epochs": len(mine),
        "seconds": round(sum(r["seconds"] for r in mine), 1),
    }
    run.outcomes.append(outcome)
    _save_stage(run, outcome, run.best.weights)
    run.position = Position(run.position.stage + 1)
    if not run.finished:
        _begin_stage(run, pixels)
    run.save()


def _settle(run: Run, pixels: _Pixels) -> None:
    """Settle the best state's normalisations; kept where validation is none the worse for it."""
    if not run.network.normalised_weights():
        return
    order = torch.randperm(len(pixels.images), generator=run.random("settling"))
    parts = torch.split(order, pixels.batch)[:SETTLING_BATCHES]
    device = pixels.images.device
    chosen = (pixels.images[part.to(device)] for part in parts)
    settle(run.network, (_batch(run, images, step) for step, images in enumerate(chosen)))
    accuracy, rates = evaluate(run.network, pixels.held_out, pixels.held_out_labels, run)
    if not _keep_if_best(run, accuracy, rates, run.best.epoch):
        run.network.load_state_dict(run.best.weights)


def _begin_stage(run: Run, pixels: _Pixels) -> None:
    settings, first = run.experiment.settings, run.network.timesteps == 0
    if run.stage.bits:
        run.network = in_integers(run.network, run.stage.bits, run.experiment.normalisation)
    else:
        run.network = descend(run.network, run.stage.timesteps)
    if first:
        chosen = torch.randperm(len(pixels.images), generator=run.random("calibration"))
        images = pixels.images[chosen[:CALIBRATION_IMAGES].to(pixels.images.device)]
        set_thresholds(run.network, _batch(run, images, 0), settings.percentile)
    run.optimiser = make_optimiser(run.network, settings)
    run.best = first_best(run.network)


def stage_file(run: Run, name: str) -> Path:
    return run.directory / f"{name}.pt"


def _save_stage(run: Run, outcome: dict[str, Any], weights: dict[str, Tensor]) -> None:
    content = run.experiment.describe() | {
        "timesteps": outcome["timesteps"],
        "bits": outcome.get("bits", 0),  # a stage from before there were integers
        "metrics": outcome,
        "history": run.outcomes,
        "network": {name: tensor.cpu() for name, tensor in weights.items()},
    }
    checkpoint.save(stage_file(run, outcome["stage"]), content)


def _test(run: Run, data: DataSet) -> None:
    """Read the test set, once, for every stage of this run, when nothing is left to choose."""
    device = next(run.network.parameters()).device
    images, labels = data.test_images.to(device), data.test_labels.to(device)
    own = {stage.name for stage in run.experiment.settings.stages}
    outcomes = [outcome for outcome in run.outcomes if outcome["stage"] in own]
    for outcome in outcomes:
        network = _network_of(run, outcome["stage"])
        outcome["test"], outcome["test_rates"] = evaluate(network, images, labels, run)
    for outcome in outcomes:
        weights = checkpoint.load(stage_file(run, outcome["stage"]))["network"]
        _save_stage(run, outcome, weights)
    run.save()
