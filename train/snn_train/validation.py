"""What is measured of a network, which of its states is kept, and whether a stage may end so."""

import math

import torch
from torch import Tensor

from snn_train.choices import RATE_LIMITS
from snn_train.data.on_disk import Images, evaluation_batch
from snn_train.data.overview import standard_error
from snn_train.network import SpikingNetwork
from snn_train.records import EpochRecord
from snn_train.state import Kept, Run, copy_weights


@torch.no_grad()
def evaluate(
    network: SpikingNetwork, images: Images, labels: Tensor, run: Run, out: Tensor | None = None
) -> tuple[float, dict[str, float]]:
    """Return accuracy (0 to 1) and each layer's firing rate, in float32.

    Args:
        out: where the logits are put, `(N, classes)` on the CPU; in every process all of them.
    """
    network.eval()
    if out is not None:
        out.zero_()  # where another process answers
    names = [population.plan.name for population in network.populations()]
    sums = torch.zeros(1 + len(names), dtype=torch.float64)
    size = evaluation_batch(images)
    for start in range(run.team.rank * size, len(labels), run.team.size * size):
        part = slice(start, start + size)
        network.rates = {}
        logits = network(run.experiment.normalisation(images[part]))
        if out is not None:
            out[part] = logits.cpu()
        correct = int((logits.argmax(1) == labels[part]).sum())
        rates = [float(network.rates[name]) * len(logits) for name in names]
        sums += torch.tensor([correct, *rates], dtype=torch.float64)
    network.rates = None
    if out is not None:
        out.copy_(run.team.sum(out))
    correct, *rates = (run.team.sum(sums) / len(labels)).tolist()
    return correct, dict(zip(names, rates, strict=True))


def epoch_record(
    run: Run,
    trained: tuple[float, float],
    accuracy: float,
    rates: dict[str, float],
    images: int,
    seconds: float,
) -> EpochRecord:
    """What was measured of the run's epoch.

    Args:
        trained: mean loss and accuracy of its steps.
        images: that they saw.
        seconds: of validation.
    """
    at, budget = run.position, run.active_budget
    return EpochRecord(
        stage=run.stage.name,
        attempt=at.attempt,
        epoch=at.epoch + 1,
        epochs=run.stage.epochs,
        loss=trained[0],
        training=trained[1],
        validation=accuracy,
        spike_rate=run.network.spike_rate(rates) if run.stage.timesteps else None,
        rates=rates,
        seconds=round(at.seconds, 3),
        validation_seconds=round(seconds, 3),
        images_per_second=round(images / max(at.seconds, 1e-9), 1),
        target=budget.target if budget else None,
        strength=float(budget.strength()) if budget else None,
    )


def within_chance(highest: float, count: int) -> float:
    """Return the least accuracy on `count` pictures that counts as much as `highest`.

    It is one standard error below (Breiman et al. 1984, section 3.4.3), of a share with one right
    and one wrong picture added: ten right of ten are no certainty. The highest of many epochs is
    lucky, the more so the fewer pictures select, and a schedule that ends at zero makes the later
    of two equal epochs the better.
    """
    return highest - standard_error((highest * count + 1) / (count + 2), count)


def keep_if_best(
    run: Run, accuracy: float, rates: dict[str, float], epoch: int, least: float
) -> bool:
    """Make the network's weights the stage's best state if they are healthy and no worse: nearer
    to the budget, or as near and `least` accurate or more. Until one is, the most accurate of the
    others is kept in case it is usable all the same."""
    limits = run.recipe.rate_limits
    finite = all(bool(weight.isfinite().all()) for weight in run.judged.state_dict().values())
    healthy = finite and not health_problem(run.stage.timesteps, rates, accuracy, limits)
    distance, before = _distance(run, rates), _distance(run, run.best.rates)
    as_near = distance == before
    better = healthy and (accuracy >= least if as_near else distance < before)
    if better:
        highest = run.best.highest if as_near else accuracy
        run.best = Kept(accuracy, epoch, rates, copy_weights(run.judged), highest)
        run.unhealthy = None
    elif finite and not healthy and run.best.epoch < 0:
        if accuracy >= (run.unhealthy.accuracy if run.unhealthy else 0.0):
            run.unhealthy = Kept(accuracy, epoch, rates, copy_weights(run.judged))
    return better


def _distance(run: Run, rates: dict[str, float]) -> float:
    """How far `rates` are from the budget; 0 where there is none."""
    if not run.active_budget:
        return 0.0
    return run.active_budget.distance(run.network.spike_rate(rates)) if rates else math.inf


def stage_problem(run: Run) -> str:
    """Why the stage may not pass on; empty if it may."""
    limits = run.recipe.rate_limits
    if run.best.epoch < 0:  # no epoch was healthy: say what was wrong with the last one
        last = run.records[-1]
        wrong = health_problem(run.stage.timesteps, last.rates, last.validation, limits)
        return wrong or "weights are not finite"
    problem = health_problem(run.stage.timesteps, run.best.rates, run.best.accuracy, limits)
    before = run.outcomes[-1].validation if run.stage.timesteps and run.outcomes else 0.0
    # The highest: what is kept is as accurate, but for chance.
    now, drop = run.best.highest, run.recipe.largest_drop
    if not problem and now < before - drop:
        problem = f"accuracy fell from {before:.2%} to {now:.2%}, budget is {drop:.0%}"
    if run.active_budget and not problem:
        problem = run.active_budget.problem(run.network.spike_rate(run.best.rates))
    return problem


def health_problem(
    timesteps: int,
    rates: dict[str, float],
    accuracy: float,
    limits: tuple[float, float] = RATE_LIMITS,
) -> str:
    """Return why the state of a stage is no start for the next, or an empty string if it may be.

    Spikes vanish from layer to layer where timesteps are lowered carelessly, which is why the paper
    lowers them one by one.

    Args:
        rates: firing rate a layer, per neuron and timestep.
        accuracy: validation accuracy, 0 to 1.
        limits: the lowest and the highest rate allowed.
    """
    if not math.isfinite(accuracy):
        return "loss is not finite"
    if timesteps == 0:
        return ""
    low, high = limits
    for layer, rate in rates.items():
        if not low <= rate <= high:
            return f"{layer} fires at {rate:.2%}, expected {100 * low:g}% to {100 * high:g}%"
    return ""
