"""What all commands share while they run: one line on stderr, exit codes as in `errors`."""

import io
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snn_runtime.errors import DeviceError, ResourceError, SnnError
from snn_runtime.installing import missing_package
from snn_runtime.text import printable


def run_command(program: str, body: Callable[[], int]) -> int:
    """Run `body` and turn whatever it raises into a line on stderr and an exit code.

    A closed pipe (`| head -1`) ends the command quietly with 141, as a shell tool would. A missing
    package is named with the line that installs it. An unexpected exception is a bug of ours: its
    traceback goes to a file that the line names.
    """
    _say_what_is_logged()
    received = list[int]()
    try:
        _leave_on_signals(program, received)
        code = _ended(program, body)
        sys.stdout.flush()
        return code
    except SystemExit:  # a signal beside the body, by our own handler
        return _stopped(program, received[0])
    except SnnError as error:
        say(f"{program}: error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return _stopped(program, signal.SIGINT)
    except BrokenPipeError:
        _discard_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        _discard_stdout()
        say(f"{program}: error: {_told(error)} [resource]")
        return ResourceError.exit_code
    except ImportError as error:
        if not (missing := missing_package(error)):
            return _internal(program)
        say(f"{program}: error: {missing} [missing_package]")
        return DeviceError.exit_code
    except MemoryError:
        say(f"{program}: error: out of memory [resource]")
        return ResourceError.exit_code
    except Exception:
        if received:  # torch swallows an exception while it loads numpy, which then is half there
            return _stopped(program, received[0])
        return _internal(program)


def _leave_on_signals(program: str, received: list[int]) -> None:
    """Have the first signal end a command by an exception, so that what is open is closed, children
    are ended, scratch files removed. Those that have come are added to `received`.

    The second one does not cut that short: a film would be lost. The third ends at once. Signals
    that have a handler or are ignored, as under nohup, stay so. As process 1 of a container only
    what has a handler arrives at all.
    """

    def leave(number: int, _: object) -> None:
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        if len(received) > 2:
            os._exit(128 + number)
        with suppress(OSError):  # not by print, which the signal may have interrupted
            os.write(2, f"{program}: closing what is open; a third signal ends at once\n".encode())

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)


def _stopped(program: str, number: int) -> int:
    say(
        f"{program}: "
        + ("interrupted" if number == signal.SIGINT else f"stopped by signal {number}")
    )
    return 128 + number


def _ended(program: str, body: Callable[[], int]) -> int:
    """The code of `body`; of `--help`, which leaves by an exception, 0."""
    try:
        _complete_streams()
        return body()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        return _stopped(program, code - 128) if code > 128 else code


def _told(error: OSError) -> str:
    reason = error.strerror or str(error)
    if isinstance(error.filename, str):
        return f"{error.filename}: {reason}"
    try:
        os.getcwd()
    except OSError as why:  # which no path has been named for
        return f"the working folder: {why.strerror}"
    return reason


def _internal(program: str) -> int:
    say(f"{program}: error: internal error, please report it with {_log()} [internal]")
    return 1


def _complete_streams() -> None:
    """Give every closed standard stream a place to fail at; a closed stderr swallows what it gets.

    A closed stream leaves its number free, and the next file that is opened gets it: an answer
    would be written into a model. As gnulib's `stdopen` does, each missing number is given to
    /dev/null, opened the wrong way round: its user is refused, and no other file gets it.

    Raises:
        ResourceError: `unwritable`: standard output is closed, and answers belong there.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDWR)):
        with suppress(OSError):  # a root without /dev/null: nothing to be done
            _fill(descriptor, flags)
    # A label or the name of a file may hold what a terminal cannot show: no work is lost for that.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:  # libraries write to it without looking
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    if sys.stdout is None:
        raise ResourceError(
            "unwritable",
            "standard output is closed, so an answer would be lost; send it to /dev/null if that "
            "is meant",
        )


def _fill(descriptor: int, flags: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, flags)  # the lowest free number, which is this one
        os.set_inheritable(opened, True)


class _Saying(logging.Handler):
    """What the packages log, as lines on stderr: only commands print."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def _say_what_is_logged() -> None:
    for package in ("snn_runtime", "snn_serve", "snn_bench", "snn_train", "snn_export"):
        logger = logging.getLogger(package)
        if not logger.handlers:  # else this process has had a command before
            logger.addHandler(_Saying())
            logger.setLevel(logging.INFO)


def say(line: str) -> None:
    """Print one line on stderr, whatever it holds and whatever state stderr is in."""
    try:
        # A file name may hold anything, and the locale may be C: escape rather than fail.
        encoding = sys.stderr.encoding or "ascii"
        escaped = printable(line).encode(encoding, "backslashreplace").decode(encoding)
        print(escaped, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass  # stderr is full, closed or absent: the exit code has to say it alone


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Have an error of a write say which file it is of: the system does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _discard_stdout() -> None:
    # Python flushes stdout once more at exit; let that go nowhere instead of raising again.
    with suppress(OSError):  # where nothing can be written, not even there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log() -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="iir-snn-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(traceback.format_exc())
        return file.name
    except OSError:
        traceback.print_exc()
        return "the traceback above"
