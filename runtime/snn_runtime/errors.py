"""The errors a user can meet, and the exit code each one means in every command.

    SnnError                     1  internal
    ├── UsageError (ValueError)  2  a flag or a value that cannot be obeyed
    ├── InputError (ValueError)  3  an image or a data set that cannot be used
    ├── ModelError (ValueError)  5  a model or checkpoint that is refused
    ├── DeviceError (RuntimeError) 6  the requested device or backend is not here
    ├── ResourceError (OSError)  7  disk, memory or permission
    ├── DivergedError (RuntimeError) 8  training lost its way; the last good state is named
    ├── VerifyError (RuntimeError) 9  two computations that must agree do not
    └── BusyError (RuntimeError) 75  try again later

Code 4 (some inputs failed, the others were delivered) is an outcome, not an error.
"""

from typing import ClassVar

PARTIAL = 4


class SnnError(Exception):
    """Base of all refusals: a short code for machines and one sentence for people."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """Closed-set identifier such as `too_many_pixels`."""
        self.message = message
        """What was wrong, its value, what was expected, what to do."""

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class UsageError(SnnError, ValueError):
    exit_code = 2


class InputError(SnnError, ValueError):
    exit_code = 3


class ModelError(SnnError, ValueError):
    exit_code = 5


class DeviceError(SnnError, RuntimeError):
    exit_code = 6


class ResourceError(SnnError, OSError):
    exit_code = 7


class DivergedError(SnnError, RuntimeError):
    exit_code = 8


class VerifyError(SnnError, RuntimeError):
    exit_code = 9


class BusyError(SnnError, RuntimeError):
    exit_code = 75


def named(kind: str, code: str, message: str) -> SnnError:
    """The error that another process met, by the name of its class."""
    made: SnnError = globals().get(kind, SnnError)(code, message)
    return made
