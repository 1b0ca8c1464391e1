"""Pictures of many requests, given to one engine together.

Whatever waits while the engine runs is its next batch, so batches grow with the load and an idle
server answers at once. `batch_delay` lets a picture wait for others, and bounds how long. A batch
changes no bit of an answer: engines run each image as if it were alone.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import anyio
import numpy as np
import numpy.typing as npt

from snn_runtime.calibration import Numbers
from snn_runtime.errors import DeviceError, ResourceError
from snn_runtime.graph.reference import Spikes
from snn_runtime.image import Pixels
from snn_runtime.model import Model
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics
from snn_serve.refusal import Refusal

FULL_FOR = 5.0
"""Seconds after which a queue that stays full makes a server unready."""
NEWS = 0.1
"""Weight of the newest answer in how long a place in the queue takes."""
LOOK_EVERY = 10.0
"""Seconds between pictures whose spikes are counted for the metrics."""

Logits: TypeAlias = npt.NDArray[np.float32]
Pictures: TypeAlias = npt.NDArray[np.uint8]
Seen: TypeAlias = tuple[Logits, Numbers | None]
"""Logits, and distances from the pictures in training: see `Model.observe`."""
T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass
class _Job:
    images: Pictures
    """`[n, H, W, 3]`, n at most a batch."""
    answer: "asyncio.Future[Seen]"
    observed: bool
    """Whether distances are asked for."""
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """One model, its engine in one thread, and the pictures that wait for it."""

    def __init__(self, name: str, model: Model, limits: Limits, metrics: Metrics) -> None:
        self.name, self.model = name, model
        self.lost = False
        """Whether the engine's device is gone."""
        self._limits, self._metrics = limits, metrics
        self.decode_seconds = metrics.decode_seconds.labels(name)
        self._queue_seconds = metrics.queue_seconds.labels(name)
        self._engine_seconds = metrics.engine_seconds.labels(name)
        self._batch_size = metrics.batch_size.labels(name)
        self._waiting_shown = metrics.waiting.labels(name)
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._waiting = 0
        self._place_seconds = 0.0
        """1 / λ, see `_places`: the mean of the last answers."""
        self._full_since: float | None = None
        self._looked = -LOOK_EVERY
        self._thread = ThreadPoolExecutor(1, f"engine-{name}")
        self._task = asyncio.create_task(self._run())

    @property
    def ready(self) -> bool:
        full = self._full_since
        return not self.lost and (full is None or time.monotonic() - full < FULL_FOR)

    @contextmanager
    def admitted(self, count: int) -> Iterator[None]:
        """Hold the places of `count` pictures until they are answered, `answer_seconds` at most.

        Raises:
            Refusal: 503, there are not so many left; 413, there never are; 504, the time is over.
        """
        if count > self._limits.queue:
            most = self._limits.queue
            raise Refusal(413, "too_many_images", f"{count} images at once, at most {most}")
        self.check_room(count)
        self._full_since = None
        self._hold(count)
        begun, here, seconds = time.monotonic(), self._waiting, self._limits.answer_seconds
        try:
            with anyio.fail_after(seconds):
                yield
            self._learn((time.monotonic() - begun) / here)
        except TimeoutError as error:
            self._learn(seconds / here)
            said = f"no answer within {seconds:g} s: try again later, with fewer pictures at once"
            raise Refusal(504, "deadline", said) from error
        finally:
            self._hold(-count)

    def _learn(self, seconds: float) -> None:
        self._place_seconds += NEWS * (seconds - self._place_seconds)

    @property
    def _places(self) -> int:
        """How many pictures may be here: so many that the last is answered in time.

        Who finds L pictures here, itself included, is here for L / λ seconds, where λ are answered
        a second (Little, 1961, https://doi.org/10.1287/opre.9.3.383). If all waited to the end of
        their time, the engine would work for those whose time ends under it, and answer hardly any.
        Half of the time is left for what the mean of 1 / λ does not show. One picture alone is
        always tried.
        """
        slow = max(self._place_seconds, 1e-9)
        return min(self._limits.queue, max(1, int(self._limits.answer_seconds / 2 / slow)))

    def check_room(self, count: int = 1) -> None:
        """Raises: Refusal: 503, there are not so many places left."""
        if self._waiting and self._waiting + count > self._places:
            if self._full_since is None:
                self._full_since = time.monotonic()
            raise Refusal(503, "busy", "more pictures wait than may: try again in a second")

    def _hold(self, count: int) -> None:
        self._waiting += count
        self._waiting_shown.set(self._waiting)
        if self._waiting < self._places:  # a server without requests is ready to be sent some
            self._full_since = None

    async def observe(self, images: Pictures, *, distances: bool = True) -> Seen:
        """Return `Model.observe` of images of the network's size, uint8 `[N, H, W, 3]`; without
        distances where they are not asked for."""
        jobs = []
        for start in range(0, len(images), self._limits.batch):
            piece = images[start : start + self._limits.batch]
            jobs.append(_Job(piece, asyncio.get_running_loop().create_future(), distances))
        self._jobs.extend(jobs)
        self._arrived.set()
        try:
            seen = [await job.answer for job in jobs]
        finally:
            for job in jobs:  # where one failed, or nobody waits any more
                job.answer.cancel()
        far = [away for _, away in seen if away is not None]
        whole = distances and len(far) == len(seen)
        logits = np.concatenate([logits for logits, _ in seen])
        return logits, np.concatenate(far) if whole else None

    async def spikes(self, image: Pixels) -> dict[str, Spikes]:
        """Return the spikes of every population for one image, each `[C, H, W]` or `[O]`."""
        spikes = await self._in_thread(self.model.backend.spikes, image[np.newaxis])
        alone = {name: sent[0] for name, sent in spikes.items()}
        self._metrics.saw_spikes(self.name, alone)
        return alone

    async def close(self) -> None:
        """Wait for the pictures that are waiting, then let the engine go."""
        while self._waiting:
            await asyncio.sleep(0.05)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[Pictures], T], images: Pictures) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, images)

    async def _run(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                if batch:
                    await self._compute(batch)
                if batch and not self._jobs and time.monotonic() - self._looked > LOOK_EVERY:
                    self._looked = time.monotonic()
                    await self.spikes(batch[0].images[0])
            except Exception as error:  # whatever it is, the next pictures must not wait for ever
                _log.error("model %s: %s: %s", self.name, type(error).__name__, error)
                _fail(batch, error)

    async def _next_batch(self) -> list[_Job]:
        """Take what waits, up to a batch; wait for the first, and for others as long as allowed."""
        while not self._jobs:
            self._arrived.clear()
            await self._arrived.wait()
        until = self._jobs[0].since + self._limits.batch_delay
        while (left := until - time.monotonic()) > 0 and self._images < self._limits.batch:
            self._arrived.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)
        batch: list[_Job] = []
        room = self._limits.batch
        while self._jobs and len(self._jobs[0].images) <= room:
            job = self._jobs.popleft()
            if not job.answer.done():  # else its deadline is over
                batch.append(job)
                room -= len(job.images)
        return batch

    @property
    def _images(self) -> int:
        return sum(len(job.images) for job in self._jobs)

    async def _compute(self, jobs: list[_Job]) -> None:
        begun = time.monotonic()
        for job in jobs:
            self._queue_seconds.observe(begun - job.since)
        images = np.concatenate([job.images for job in jobs])
        try:
            logits, distances = await self._in_thread(
                self.model.observe if any(job.observed for job in jobs) else self._plain, images
            )
        except ResourceError as error:
            if len(jobs) == 1:
                _fail(jobs, error)
            else:  # memory that a batch lacks may do for each alone
                for job in jobs:
                    await self._compute([job])
            return
        except Exception as error:
            self.lost |= isinstance(error, DeviceError)
            _fail(jobs, error)
            return
        self._batch_size.observe(len(images))
        self._engine_seconds.observe(time.monotonic() - begun)
        ends = np.cumsum([len(job.images) for job in jobs])[:-1]
        far = [None] * len(jobs) if distances is None else np.split(distances, ends)
        for job, rows, away in zip(jobs, np.split(logits, ends), far, strict=True):
            if not job.answer.done():
                job.answer.set_result((rows, away))

    def _plain(self, images: Pictures) -> Seen:
        return self.model.logits(images), None


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        if not job.answer.done():
            job.answer.set_exception(error)
