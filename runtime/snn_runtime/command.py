"""What all commands share: their flags' grammar, one line on stderr, exit codes as in `errors`."""

import argparse
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from snn_runtime import streams
from snn_runtime.errors import DeviceError, ResourceError, SnnError, UsageError
from snn_runtime.installing import missing_package
from snn_runtime.text import printable

EXIT_CODES = """exit codes:
  0 ok   1 internal   2 usage   3 input   4 partial   5 model   6 device   7 resource
  8 diverged   9 verify   75 try again   129/130/143 stopped by a signal"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are UsageErrors: one line and exit code 2."""

    def __init__(self, program: str, description: str, examples: str) -> None:
        super().__init__(
            prog=program,
            description=description,
            epilog=f"{examples}\n\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action=_Version, help="show the version and exit")

    def print_help(self, file: Any = None) -> None:
        """As argparse does, but for its silence where nothing can be written."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        raise UsageError("usage", f"{message} (see {self.prog} --help)")


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # slow to import, hardly ever needed

        print(f"{parser.prog} {version('iir-snn')}")
        parser.exit()


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader for the value of a flag: an integer from `least` to `most`."""
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return read


def run_command(program: str, body: Callable[[], int]) -> int:
    """Run `body` and turn whatever it raises into a line on stderr and an exit code.

    A closed pipe (`| head -1`) ends the command quietly with 141, as a shell tool would. A missing
    package is named with the line that installs it. An unexpected exception is a bug of ours: its
    traceback goes to a file that the line names.
    """
    _end_on_signals_as_process_1()
    try:
        streams.complete()
        code = _ended(body)
        sys.stdout.flush()
        return code
    except SnnError as error:
        say(f"{program}: error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say(f"{program}: interrupted")
        return 128 + signal.SIGINT
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
        return _internal(program)


def _ended(body: Callable[[], int]) -> int:
    """The code of `body`; of `--help`, which leaves by an exception, 0."""
    try:
        return body()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)


def _told(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if isinstance(error.filename, str) else reason


def _internal(program: str) -> int:
    say(f"{program}: error: internal error, please report it with {_log()} [internal]")
    return 1


def _end_on_signals_as_process_1() -> None:
    """Do for the first process of a container what the kernel does for all others.

    What has no handler never reaches process 1: `docker stop` would wait in vain.
    """
    if os.getpid() != 1:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # snn-bench has handlers of its own
            signal.signal(number, lambda received, _: os._exit(128 + received))


def say(line: str) -> None:
    """Print one line on stderr, whatever it holds and whatever state stderr is in."""
    try:
        # A file name may hold anything, and the locale may be C: escape rather than fail.
        encoding = sys.stderr.encoding or "ascii"
        escaped = printable(line).encode(encoding, "backslashreplace").decode(encoding)
        print(escaped, file=sys.stderr, flush=True)
    except (OSError, ValueError, AttributeError):
        pass  # stderr is full, closed or absent: the exit code has to say it alone


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
