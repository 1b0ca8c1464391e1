"""Builds an engine in a child process, `build_child`, and waits for it.

A builder can be killed for memory, hang or crash inside TensorRT, and needs minutes on a small
board. So it is a process of its own. It gets the model through one pipe and sends the engine
through another: no file is left half-written, and its end, however it comes, is reported here.
"""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

from snn_runtime.engines.tensorrt.build_child import REFUSED
from snn_runtime.engines.tensorrt.library import Request

LOG = logging.getLogger(__name__)

PATIENCE = 1800.0
"""Seconds that one engine may take. A VGG16 takes minutes on the smallest boards."""
PROGRESS = 3.0
"""Seconds between two lines that report progress."""
LARGEST_WORKSPACE = 2**30
"""Bytes. A layer of the largest networks here (VGG16 at 224 pixels, batch 8) asks for some 400 MB;
with a quarter of the device's memory as the other limit, a board that shares its memory between
CPU and GPU keeps room for two copies of the weights, the engine and everything else."""
_DIGEST = 32
_LAST_WORDS = 300
_BOOT = """import json, sys
sys.path = json.loads(sys.argv[1])
from snn_runtime.engines.tensorrt.build_child import main
sys.exit(main())"""


class Unbuilt(Exception):
    """No engine could be built, with the reason."""


def workspace(memory: int) -> int:
    """Bytes of a device's memory that a layer may use while it is tried."""
    return min(LARGEST_WORKSPACE, memory // 4)


def build(module: str, index: int | None, model: bytes, request: Request) -> bytes:
    """Return an engine; a builder that dies gets a second chance with half the workspace.

    Args:
        module: Name of the module, `tensorrt`.
        index: Of the GPU to build for and on; None is TensorRT's choice.
        model: ONNX.
        request: How.

    Raises:
        Unbuilt: Naming what went wrong in the last attempt.
    """
    try:
        return _attempt(module, index, model, request)
    except _Died as error:
        LOG.warning("building the TensorRT engine: %s; again with half the workspace", error)
        smaller = replace(request, workspace=request.workspace // 2)
    try:
        return _attempt(module, index, model, smaller)
    except _Died as error:
        raise Unbuilt(f"{error}, also with half the workspace") from error


class _Died(Exception):
    pass


def _attempt(module: str, index: int | None, model: bytes, request: Request) -> bytes:
    job = {"module": module, "index": index, "request": asdict(request)}
    # The child gets this process's path of modules: the folder it runs in, where a stranger's
    # tensorrt.py may lie, is not on it.
    paths = json.dumps([os.path.abspath(path) for path in sys.path])
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        try:
            message = json.dumps(job).encode() + b"\n" + model
            output, errors = _waited(child, message, request.form)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise _failure(child.returncode, errors)
    engine = output[_DIGEST:]
    if not engine or hashlib.sha256(engine).digest() != output[:_DIGEST]:
        raise _Died("the builder's engine is cut short")
    return engine


def _waited(child: subprocess.Popen[bytes], message: bytes, form: str) -> tuple[bytes, bytes]:
    started = time.monotonic()
    unsent: bytes | None = message
    while True:
        try:
            return child.communicate(unsent, timeout=min(PROGRESS, PATIENCE))
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - started
            if seconds >= PATIENCE:
                raise Unbuilt(f"the builder is not done after {PATIENCE:.0f} s") from None
            LOG.info("building the TensorRT engine, %s, %.0f s", form, seconds)
            unsent = None  # communicate keeps its input, and accepts it only once


def _failure(code: int, errors: bytes) -> Exception:
    said = errors.decode(errors="replace").strip().splitlines()
    reason = said[-1][-_LAST_WORDS:] if said else "it does not say why"
    if code == REFUSED:
        return Unbuilt(reason)
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        hint = ", as when memory runs out" if -code == signal.SIGKILL else ""
        return _Died(f"the builder was ended by {name}{hint}")
    return _Died(reason)
