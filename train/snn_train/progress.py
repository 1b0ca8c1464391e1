"""What a run tells while it goes on. Here it is logged; commands print it, see `report`."""

import logging
from collections.abc import Iterable
from pathlib import Path

from snn_train.duration import show
from snn_train.mistakes import Confusion, table
from snn_train.pace import Pace
from snn_train.parallel import Team
from snn_train.records import EpochRecord
from snn_train.state import Run

LOG = logging.getLogger("snn_train")


class Progress:
    """Logs epochs and notes at level INFO. Override what shall be shown otherwise.

    For example, to see the loss alone::

        class Losses(snn_train.Progress):
            def epoch(self, record):
                print(record.stage, record.epoch, record.loss)

        snn_train.train("digits", progress=Losses())
    """

    def files(self, items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
        """Yield the files of the data as they are read, `total` of them."""
        return items

    def begin(self, run: Run) -> None:
        """The run begins or goes on; its folder is locked."""
        if run.team.leads:
            self.note(title(run))

    def step(self, pace: Pace) -> None:
        """A step is over. Logged every two minutes of an epoch."""
        if pace.due:
            LOG.info("%s", pace_line(pace))

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is over."""
        LOG.info("%s", epoch_line(record))

    def note(self, text: str) -> None:
        """A message for the user."""
        LOG.info("%s", text)

    def reviewed(self, confusion: Confusion) -> None:
        """The run is over: what its network takes the test pictures for."""
        LOG.info("%s", table(confusion))

    def stop(self) -> bool:
        """Whether to save the state and end; called after every step, in every process."""
        return False


class _Follower(Progress):
    """For the processes beside the first, which reports for all: they may stop, and are silent."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def begin(self, run: Run) -> None:
        self.progress.begin(run)

    def step(self, pace: Pace) -> None:
        pass

    def epoch(self, record: EpochRecord) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def stop(self) -> bool:
        return self.progress.stop()


def reporter(progress: Progress | None, team: Team) -> Progress:
    """Return what this process reports to: only the first one of a team is heard."""
    progress = progress or Progress()
    return progress if team.leads else _Follower(progress)


def title(run: Run) -> str:
    """What is trained on what, in which stages, and where it is saved."""
    recipe = run.recipe
    own = [stage.name for stage in recipe.stages]
    earlier = [outcome.stage for outcome in run.outcomes if outcome.stage not in own]
    stages = " → ".join([*earlier, *own])
    parameters = sum(p.numel() for p in run.network.parameters())
    return (
        f"{recipe.network} width {recipe.width:g}, {parameters:,} parameters, recipe "
        f"{recipe.name}, {recipe.precision}, {stages}, on {run.experiment.data}, in {run.directory}"
    )


def pace_line(pace: Pace) -> str:
    """One line for the place in an epoch."""
    place = f"{pace.stage:>4} {pace.epoch:>3}/{pace.epochs:<3} {pace.step / pace.steps:>4.0%}"
    left = _left(pace.epochs_left, pace.seconds_left)
    return f"{place} of the epoch  {pace.images_per_second:,.0f} images/s  {left}"


def _left(epochs: int, seconds: float) -> str:
    return f"{epochs} epoch{'s' * (epochs != 1)} to come, {show(seconds)} left"


def _loss(value: float) -> str:
    return f"{value:.4f}" if value < 1e4 else f"{value:.3g}"


def epoch_line(record: EpochRecord) -> str:
    """One line for an epoch, with every layer's firing rate in per cent."""
    line = f"{record.stage:>4} {record.epoch:>3}/{record.epochs:<3} loss {_loss(record.loss)}  "
    if record.training is not None:
        line += f"training {record.training:.2%}  "
    line += f"validation {record.validation:.2%}  {record.images_per_second:,.0f} images/s"
    if record.epochs_left and record.seconds_left is not None:
        line += f"  {_left(record.epochs_left, record.seconds_left)}"
    if record.spike_rate is None:
        return line
    rates = " ".join(f"{100 * rate:.0f}" for rate in record.rates.values())
    wanted = ""
    if record.target is not None:
        wanted = f" for {record.target:.1%} at strength {record.strength:.3g}"
    return f"{line}  spikes {record.spike_rate:.1%}{wanted} (% a layer: {rates})"
