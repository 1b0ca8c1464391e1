"""The child process that builds an engine: `python -c … tensorrt.build`, see `builder`.

    stdin    a line of JSON, then the ONNX model
    stdout   SHA-256 of the engine, then the engine
    stderr   if there is none, the reason in the last line

It may take gigabytes, be killed for them, hang or crash, and nobody but its parent's patience is
the worse for it. It ends with its parent.
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
    """Build what standard input asks for and return the exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    result = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # TensorRT's own prints are no engine
    asked = json.loads(sys.stdin.buffer.readline())
    model = sys.stdin.buffer.read()
    try:
        library = find(asked["module"])
        if asked["index"] is not None:
            Device(asked["index"]).use()
        asked["request"]["size"] = tuple(asked["request"]["size"])
        engine = library.build(model, Request(**asked["request"]))
    except (Refused, SnnError) as error:
        print(str(error), file=sys.stderr)
        return FAILED if isinstance(error, Refused) and error.again else REFUSED
    result.write(hashlib.sha256(engine).digest())
    result.write(engine)
    result.close()
    return 0
