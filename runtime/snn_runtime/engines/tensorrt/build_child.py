"""The child process that builds an engine, see `build`.

    stdin    a line of JSON, then the ONNX model
    stdout   SHA-256 of the engine, then the engine
    stderr   its last line is the reason, if there is no engine

It may use gigabytes, be killed for them, hang or crash. It ends with its parent.
"""

import ctypes
import hashlib
import json
import os
import signal
import sys

from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.library import Refused, Request, find
from snn_runtime.errors import SnnError

REFUSED = 3
"""Exit code: no other attempt would end otherwise."""
FAILED = 4
"""Exit code: less memory may help."""
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Build the engine that standard input describes and return the exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    result = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # TensorRT's own prints are no engine
    job = json.loads(sys.stdin.buffer.readline())
    model = sys.stdin.buffer.read()
    try:
        library = find(job["module"])
        if job["index"] is not None:
            Device(job["index"]).use()
        job["request"]["size"] = tuple(job["request"]["size"])
        engine = library.build(model, Request(**job["request"]))
    except (Refused, SnnError) as error:
        print(str(error), file=sys.stderr)
        return FAILED if isinstance(error, Refused) and error.again else REFUSED
    result.write(hashlib.sha256(engine).digest())
    result.write(engine)
    result.close()
    return 0
