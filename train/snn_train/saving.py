"""Saving while a disk may be full for a while: one failure must not end a run of days."""

import json
import logging
import time
from collections.abc import Callable

from snn_runtime.errors import ResourceError
from snn_runtime.files import write_atomic
from snn_train.folder import METRICS
from snn_train.state import Run

LOG = logging.getLogger(__name__)

IN_A_ROW = 5
"""Saves that fail one after another before a run ends."""
PAUSE = 1.0
"""Seconds before what cannot wait is tried again; doubled every time."""


def save_and_go_on(run: Run) -> None:
    """Save the state and the metrics; of a failure say so, the next save is another try.

    Raises:
        ResourceError: it was the last of too many in a row.
    """
    try:
        run.save()
        write_metrics(run)
    except ResourceError as error:
        run.failed_saves += 1
        if run.failed_saves == IN_A_ROW:
            raise ResourceError(
                error.code, f"{error.message}; {IN_A_ROW} saves in a row have failed"
            ) from error
        LOG.warning(
            "%s; training goes on, %d more such failures in a row end it",
            error.message,
            IN_A_ROW - run.failed_saves,
        )
    else:
        run.failed_saves = 0


def insist(save: Callable[[], None]) -> None:
    """Save what training cannot go on without, trying again for a while.

    Raises:
        ResourceError: the last try failed too.
    """
    for tried in range(1, IN_A_ROW + 1):
        try:
            return save()
        except ResourceError as error:
            if tried == IN_A_ROW:
                raise
            LOG.warning("%s; trying again", error.message)
            time.sleep(PAUSE * 2 ** (tried - 1))


def write_metrics(run: Run) -> None:
    """Write metrics.jsonl anew from the run's records, so that it never disagrees with them."""
    if run.team.leads:
        lines = "".join(f"{json.dumps(record.to_dict())}\n" for record in run.records)
        write_atomic(run.directory / METRICS, lines.encode())
