"""The models that a server has: found at its start, read again at SIGHUP, never named by a client's
path."""

import asyncio
import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snn_runtime.door import refusal
from snn_runtime.engines.choice import BackendName, Precision
from snn_runtime.errors import InputError, ModelError, SnnError, UsageError
from snn_runtime.model import Model, load
from snn_serve.batcher import Batcher
from snn_serve.hook import Subscription
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics
from snn_serve.refusal import Refusal

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
DEFAULT = "default"
"""Name of the one model of a server that has no folder of them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Where models come from, and how they are run."""

    file: Path | None = None
    """One model; None is the bundled one."""
    folder: Path | None = None
    """Several: every `*.onnx` in it, by its name."""
    backend: BackendName = "auto"
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None

    def found(self) -> dict[str, Path | None]:
        """Return the files by the names of their models; None is the bundled one.

        Raises:
            UsageError: `bad_model_name`.
            ModelError: `no_models`.
        """
        if self.folder is None:
            return {DEFAULT: self.file}
        try:
            names = os.listdir(self.folder)
        except OSError as error:
            raise ModelError("no_models", f"{self.folder}: {refusal(error).message}") from error
        paths = sorted(self.folder / name for name in names if name.endswith(".onnx"))
        if not paths:
            raise ModelError("no_models", f"{self.folder}: has no files *.onnx")
        for path in paths:
            if not NAME.fullmatch(path.stem):
                raise UsageError(
                    "bad_model_name",
                    f"{path}: a model's name has at most 64 of a-z, 0-9, _ and -, and begins with "
                    "a letter or a digit",
                )
        return {path.stem: path for path in paths}

    def loaded(self, path: Path | None) -> Model:
        """Return a model whose engine has proved itself, a large one too.

        Raises:
            SnnError: as `model.load`; the message begins with the path.
        """
        try:
            model = load(
                path,
                backend=self.backend,
                device=self.device,
                precision=self.precision,
                threads=self.threads,
            )
        except InputError as error:  # a file that cannot be read, here a model
            raise ModelError("unreadable", f"{path}: {error.message}") from error
        if not model.self_tested:
            model.self_test()
        return model


class Models:
    """Every model by its name, with the pictures that wait for it."""

    def __init__(
        self,
        source: Source,
        limits: Limits,
        metrics: Metrics,
        subscription: Subscription | None = None,
    ) -> None:
        self._source, self._limits, self._metrics = source, limits, metrics
        self._subscription = subscription
        self._by_name: dict[str, Batcher] = {}
        self._reloading = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    def add(self, loaded: Iterable[tuple[str, Model]]) -> None:
        """Serve these models, in place of those that have their names."""
        for name, model in loaded:
            before = self._by_name.get(name)
            self._by_name[name] = Batcher(name, model, self._limits, self._metrics)
            if before is not None:
                self._leave(before)

    def _leave(self, batcher: Batcher) -> None:
        """Let it answer what it has."""
        task = asyncio.create_task(self._end(batcher))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _end(self, batcher: Batcher) -> None:
        await batcher.close()
        if batcher.name not in self._by_name:
            self._metrics.forget(batcher.name)

    def __iter__(self) -> Iterator[Batcher]:
        return iter(self._by_name.values())

    @property
    def first(self) -> str:
        """The model of a request that names none: `default`, or the first by name."""
        return DEFAULT if DEFAULT in self._by_name else min(self._by_name)

    def named(self, name: str | None) -> Batcher:
        """Return a model.

        Raises:
            Refusal: 404.
        """
        batcher = self._by_name.get(self.first if name is None else name)
        if batcher is None:
            raise Refusal(404, "no_such_model", "there is no model of this name: see /v2/models")
        return batcher

    def check_room(self, name: str | None) -> None:
        """Raises: Refusal: 503, as many pictures wait for this model as may."""
        batcher = self._by_name.get(self.first if name is None else name)
        if batcher is not None:  # else whoever answers says that there is none
            batcher.check_room()

    @property
    def ready(self) -> bool:
        return all(batcher.ready for batcher in self._by_name.values())

    async def reload(self) -> None:
        """Read every file again; a model that is refused, or does not prove itself, stays as it
        was. So does the last one of all, and the last one with the label that is posted."""
        async with self._reloading:
            try:
                found = self._source.found()
            except SnnError as error:
                _log.error("reload: %s; all models stay as they were", error)
                return
            for name in self._in_turn(found):
                try:
                    model = await asyncio.to_thread(self._source.loaded, found[name])
                    self._check_label(found.keys() - {name}, model)
                except SnnError as error:
                    then = "stays as it was" if name in self._by_name else "is not served"
                    _log.error("reload: model %s %s: %s", name, then, error)
                else:
                    self.add([(name, model)])
                    _log.info("reload: model %s (%s)", name, model.engine)
            for name in self._in_turn(self._by_name.keys() - found.keys()):
                try:
                    self._check_left(self._by_name.keys() - {name})
                except SnnError as error:
                    _log.error("reload: model %s stays, though its file is gone: %s", name, error)
                else:
                    self._leave(self._by_name.pop(name))
                    _log.info("reload: model %s is gone", name)

    def _in_turn(self, names: Iterable[str]) -> list[str]:
        """Names of models; of those that have the label that is posted last: others may have it
        by then."""
        subscription = self._subscription
        if subscription is None:
            return sorted(names)
        last = {each.name for each in self if subscription.condition.label in each.model.labels}
        return sorted(names, key=lambda name: (name in last, name))

    def _check_left(self, names: Collection[str]) -> None:
        """Raises: SnnError: without any but these there would be no model, or none with the label
        that is posted."""
        if not names:
            raise ModelError("no_models", "it is the last one that is sound")
        self._check_label(names)

    def _check_label(self, names: Iterable[str], *more: Model) -> None:
        """Raises: UsageError: `bad_flag`: neither these nor what is served under these names has
        the label that is posted."""
        if self._subscription is not None:
            served = [self._by_name[name].model for name in names if name in self._by_name]
            self._subscription.check([*served, *more])

    async def close(self) -> None:
        """Wait for all pictures that wait."""
        await asyncio.gather(*(batcher.close() for batcher in self._by_name.values()))
