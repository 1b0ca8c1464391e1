"""An OpenCV whose only camera does what FAKE_CAMERA says, step by step: a node, then steps."""

import json
import os
import time

import numpy as np
import numpy.typing as npt
from PIL import Image

CAP_V4L2 = 200
CAP_PROP_POS_MSEC = 0
__version__ = "fake"


class videoio_registry:
    @staticmethod
    def hasBackend(backend: int) -> bool:
        return True


class VideoCapture:
    def __init__(self, target: str, backend: int) -> None:
        self._node, *self._steps = json.loads(os.environ["FAKE_CAMERA"])
        self._begun = time.monotonic()
        self._count = 0
        assert (target, backend) == (self._node, CAP_V4L2)

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        step = self._steps.pop(0)
        time.sleep(0.1)
        if step == "hang":
            time.sleep(60)
        if step == "unplug":  # the driver goes on with an old buffer
            os.unlink(self._node)
        self._count += step == "red"
        self._colour = "red" if step in ("red", "again") else "blue"
        return bool(step != "stop")

    def get(self, what: int) -> float:
        return 1000 * (time.monotonic() - self._begun + 60)

    def retrieve(self) -> tuple[bool, npt.NDArray[np.uint8]]:
        frame = np.array(Image.new("RGB", (64, 48), self._colour))[..., ::-1].copy()
        frame[0, 0] = self._count
        return True, frame
