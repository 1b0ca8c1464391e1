"""Decoding in processes of their own: whatever a picture does to one, the server goes on.

A decoder that dies, or takes too long, is replaced while others decode, and its picture is tried
once more: it may have been somebody else's fault. The second death is the picture's.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress

import anyio
import numpy as np

from snn_runtime.errors import InputError, ResourceError
from snn_runtime.graph.ends import Image
from snn_runtime.image import Prepared
from snn_runtime.machine.children import child_environment, main_command
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics

_TRIES = 2


class Decoders:
    """As many decoders as the limits say, each started when it is first needed."""

    def __init__(
        self, limits: Limits, metrics: Metrics, command: Sequence[str] | None = None
    ) -> None:
        arguments = (limits.max_bytes, limits.max_pixels, limits.decode_memory)
        self._command = command or [*main_command("snn_serve.decoder"), *map(str, arguments)]
        self._seconds = limits.decode_seconds
        self._metrics = metrics
        self._all = {_Child(self._command) for _ in range(limits.decoders)}
        self._free: asyncio.LifoQueue[_Child] = asyncio.LifoQueue()
        for child in self._all:
            self._free.put_nowait(child)
        self._starting: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        return len(self._all)

    async def start(self) -> None:
        """Start all of them, so that no picture waits for it."""
        await asyncio.gather(*(child.start() for child in self._all))

    def end(self) -> None:
        """End all, whatever they are at."""
        for child in self._all:
            child.end()

    async def close(self) -> None:
        """End all, and wait until they are gone."""
        for task in (starting := list(self._starting)):
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        self.end()
        await asyncio.gather(*(child.gone() for child in self._all))

    async def prepare(self, data: bytes, image: Image) -> Prepared:
        """Return a picture as a network takes it, and the warnings about it.

        Raises:
            InputError: as `image.prepare`; `decoder_lost`: the picture ends its decoder;
                `slow_picture`: it takes too long.
            ResourceError: `child_failed`: a decoder cannot be started.
        """
        with self._metrics.decoding.track_inprogress():
            for _ in range(_TRIES):
                try:
                    return await self._tried(data, image)
                except ResourceError:
                    raise
                except (asyncio.IncompleteReadError, OSError):
                    continue
        raise InputError("decoder_lost", "ends the process that decodes it")

    async def _tried(self, data: bytes, image: Image) -> Prepared:
        child, sound = await self._free.get(), False
        try:
            await child.start()
            with anyio.move_on_after(self._seconds):
                answer = await child.ask(data, image)
                sound = True
        finally:
            if sound:
                self._free.put_nowait(child)
            else:
                self._metrics.decoders_lost.inc()
                self._replace(child)
        if not sound:
            raise InputError("slow_picture", f"takes more than {self._seconds:g} s to decode")
        if isinstance(answer, InputError):
            raise answer
        return answer

    def _replace(self, child: "_Child") -> None:
        """Start a lost one again, while no picture waits for it."""

        async def started() -> None:
            try:
                with suppress(ResourceError):  # the next picture tries, and is told
                    await child.start()
            finally:
                self._free.put_nowait(child)

        child.end()
        task = asyncio.create_task(started())
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)


class _Child:
    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._ended = False

    async def start(self) -> None:
        """Start it, unless it runs, and wait until it is ready.

        Raises:
            ResourceError: `child_failed`.
        """
        if self._process is None or self._ended or self._process.returncode is not None:
            await self.gone()
            try:
                await self._started()
            except (OSError, asyncio.IncompleteReadError) as error:  # no fault of the picture's
                self.end()
                raise ResourceError("child_failed", f"no decoder starts: {error}") from error

    async def _started(self) -> None:
        self._ended, self._process = False, None
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # where libtiff writes
            env=child_environment() | {"OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the server, which drains first
        )
        assert self._process.stdout is not None
        await self._process.stdout.readexactly(1)

    def end(self) -> None:
        self._ended = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def gone(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            await self._process.wait()

    async def ask(self, data: bytes, image: Image) -> Prepared | InputError:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        size = {"height": image.height, "width": image.width, "fit": image.fit}
        head = json.dumps({"length": len(data), **size}).encode() + b"\n"
        process.stdin.write(head + data)  # at once: each write wakes the decoder
        await process.stdin.drain()
        answer = json.loads(await process.stdout.readuntil(b"\n"))
        if "code" in answer:
            return InputError(str(answer["code"]), str(answer["message"]))
        pixels = await process.stdout.readexactly(image.height * image.width * 3)
        array = np.frombuffer(pixels, np.uint8).reshape(image.height, image.width, 3)
        return array, tuple(map(str, answer["warnings"]))
