"""What a run begins with besides its data: nothing, a T = 1 network, or an ANN."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from snn_runtime.errors import UsageError
from snn_runtime.image import Fit
from snn_train.choices import OF_THE_ANN, OF_THE_FILE, takes_size
from snn_train.data import DataSet, load
from snn_train.experiment import Experiment, digest
from snn_train.found import data_of
from snn_train.pretrained import Pretrained
from snn_train.pretrained_ann import PretrainedAnn
from snn_train.progress import Progress


def trained(
    begin_with: str | Path | None, ann: str | Path | None
) -> Pretrained | PretrainedAnn | None:
    """The trained network to begin with, if there is one. Raises: UsageError, ModelError."""
    if begin_with is not None and ann is not None:
        raise UsageError(
            "bad_flag", "a run begins with a T=1 network or with an ANN, not with both"
        )
    if ann is not None:
        return PretrainedAnn.load(Path(ann))
    return None if begin_with is None else Pretrained.load(Path(begin_with))


def check_unchanged(
    begun: Pretrained | PretrainedAnn, recipe: object, changes: Collection[str]
) -> None:
    """Raises: ValueError: a recipe, or a change to one, would be without effect on `begun`."""
    fixed = OF_THE_FILE if isinstance(begun, Pretrained) else OF_THE_ANN
    given = {*changes, *(["recipe"] if recipe != "iir-bn" else [])}  # the default of `train`
    if name := next((name for name in fixed if name in given), None):
        raise ValueError(f"{name}: that of {begun.path} is taken, change single values of a recipe")


def check_selected(data: DataSet, changes: Collection[str]) -> None:
    """Raises: ValueError: a share of what is trained on is to select, where a folder does."""
    if "validation" in changes and data.held_out is not None:
        raise ValueError(
            f"--validation: {len(data.held_out):,} pictures of {data.name} select, in a folder of "
            "their own; move pictures between the folders instead"
        )


def done(begun: Pretrained | PretrainedAnn | None, data: DataSet) -> int:
    """How many stages of the run are trained already."""
    return int(isinstance(begun, PretrainedAnn) and begun.is_done(data))


def pictures(
    begun: Pretrained | PretrainedAnn | None,
    spec: str,
    size: tuple[int, int] | None,
    fit: Fit | None,
    progress: Progress,
) -> DataSet:
    """The data as asked for; of another size where what a run begins with needs that, with a note
    where it may have learnt what selects.

    Raises: UsageError, InputError.
    """
    if begun is not None and begun.experiment is not None:
        if size is not None or fit is not None:
            flag = "--fit" if size is None else "--image-size"
            raise UsageError("bad_flag", f"{flag}: {begun.path} has its own")
        data = data_of(spec, begun.experiment, progress.files)
        return replace(data, notes=(*data.notes, *_unsure(begun.path, begun.experiment, data)))
    if isinstance(begun, PretrainedAnn) and takes_size(spec):
        size = size or begun.size
    return load(spec, progress.files, size, fit or "crop")


def _unsure(path: Path, before: Experiment, data: DataSet) -> list[str]:
    """A note where a network goes on with its classes, but not with the pictures that it knows: if
    new ones are among them, others are drawn to select."""
    known = before.labels == data.labels
    if not known or data.held_out is not None or before.data_digest == digest(data):
        return []
    return [
        f"these are not just the pictures that {path} was trained on: if it knows some of them, it "
        "may have learnt what selects, and validation promises too much"
    ]


@contextmanager
def refused() -> Iterator[None]:
    """A recipe's complaints, as a command ends with them."""
    try:
        yield
    except ValueError as error:
        raise UsageError("bad_flag", str(error)) from error
