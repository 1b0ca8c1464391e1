"""One trainer a folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from snn_runtime.errors import BusyError, ModelError, ResourceError
from snn_train.folder import make
from snn_train.parallel import Team


class Lock:
    """Holds an advisory lock that the system drops with the process."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".iir-snn.lock"

    def __enter__(self) -> None:
        if not self.path.parent.is_dir():
            raise ModelError("bad_checkpoint", f"{self.path.parent}: no such folder")
        try:
            self.file = self.path.open("a+")
        except OSError as error:
            raise ResourceError("unwritable", f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with self.file:
                self.file.seek(0)
                holder = self.file.read().strip()
            raise BusyError("locked", f"{self.path.parent} is locked by pid {holder}") from error
        self.file.truncate(0)
        self.file.write(str(os.getpid()))
        self.file.flush()

    def __exit__(self, *_: object) -> None:
        self.file.close()


@contextmanager
def new_folder(directory: Path, team: Team) -> Iterator[None]:
    """A folder for a new run, and locked."""
    make(directory)
    team.wait()  # nobody looks for an old run in what another has begun
    with locked(directory, team):
        yield


def locked(directory: Path, team: Team) -> AbstractContextManager[object]:
    """The folder of a run, locked by the first process of a team."""
    return Lock(directory) if team.leads else nullcontext()
