"""Which engine serves: the fastest of those that are right, built once and kept.

An engine that serves has passed three gates. The form's watched twin, which shows its spikes,
caused the golden ones; the engine itself made the logits that follow from them; and whenever it is
loaded again, it makes these logits again. A kept engine that fails is put away and built anew; a
new one that fails is not used, and neither is its form.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from snn_runtime.engines.cache import Cache, Entry
from snn_runtime.engines.tensorrt.builder import Unbuilt, build
from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.engine import Engine
from snn_runtime.engines.tensorrt.entries import Workpiece
from snn_runtime.engines.tensorrt.library import Library, Refused
from snn_runtime.engines.tensorrt.lowering import Form, lower
from snn_runtime.errors import DeviceError
from snn_runtime.graph import FloatArray, SpikingGraph
from snn_runtime.proof.forms import Wrong, prove_logits, prove_spikes
from snn_runtime.proof.golden import golden_images

LOG = logging.getLogger(__name__)

WARM_RUNS, TIMED_RUNS = 10, 50


@dataclass(frozen=True, eq=False)
class Chosen:
    """The engine that serves."""

    form: Form
    engine: Engine


class Workshop:
    """Makes the engines of one network on one device."""

    def __init__(
        self,
        graph: SpikingGraph,
        golden: str,
        library: Library,
        device: Device,
        cache: Cache | None,
    ) -> None:
        self._graph = graph
        self._golden = golden
        self._library = library
        self._device = device
        self._cache = cache
        self._images = golden_images(graph.image)

    def choose(self, forms: Sequence[Form]) -> Chosen:
        """Return the engine that serves: of the only form, or else the fastest.

        Raises:
            DeviceError: `backend_failed`: no engine can be built, or none is right.
        """
        watched = not self._graph.exact
        known = self._known(forms, watched)
        if known is None:
            with self._alone():  # whoever waited here finds what the other one made
                known = self._known(forms, watched) or self._new_choice(forms, watched)
        return known

    def watched(self, form: Form) -> Engine:
        """Return an engine of a form that shows its spikes.

        Raises:
            DeviceError: `backend_failed`: it cannot be built, or is not right.
        """
        engine = self._kept(form, watched=True)
        if engine is None:
            with self._alone():
                engine = self._kept(form, watched=True) or self._first_right([form], True)[0].engine
        return engine

    def _known(self, forms: Sequence[Form], watched: bool) -> Chosen | None:
        """What an earlier choice came to."""
        if len(forms) > 1:
            entry = self._load(self._choice(forms))
            forms = [entry.header["form"]] if entry else []
        engine = self._kept(forms[0], watched=watched) if forms else None
        return None if engine is None else Chosen(forms[0], engine)

    def _new_choice(self, forms: Sequence[Form], watched: bool) -> Chosen:
        right = self._first_right(forms, watched)
        if len(forms) == 1:
            return right[0]
        fastest = min(right, key=lambda chosen: self._latency(chosen.engine))
        if self._cache is not None:
            self._cache.store(self._choice(forms), {"form": fastest.form}, b"")
        return fastest

    def _first_right(self, forms: Sequence[Form], watched: bool) -> list[Chosen]:
        """Engines of all forms that are right; of fp32, which is last of several, if none is."""
        right: list[Chosen] = []
        failed: list[str] = []
        for form in forms:
            if right and form == "fp32":
                break  # never faster than a form with a quarter or half of the bytes
            try:
                engine = self._kept(form, watched=watched) or self._made(form, watched=watched)
                right.append(Chosen(form, engine))
            except (Unbuilt, Refused, Wrong) as error:
                failed.append(f"{form}: {error}")
        if not right:
            raise DeviceError(
                "backend_failed",
                f"backend tensorrt has no engine for the network: {'; '.join(failed)}",
            )
        for failure in failed:
            LOG.warning("TensorRT's %s; another form is used", failure)
        return right

    def _kept(self, form: Form, *, watched: bool) -> Engine | None:
        """An engine built before, if it is still right."""
        piece = self._piece(form, watched)
        entry = self._load(piece.key)
        if entry is None or self._cache is None:
            return None
        try:
            engine = self._opened(entry.payload, piece)
            self._prove(engine, entry, watched)
        except (Refused, Wrong) as error:
            self._cache.quarantine(piece.key, str(error))
            return None
        return engine

    def _prove(self, engine: Engine, entry: Entry, watched: bool) -> None:
        if watched:
            prove_spikes(self._graph, self._golden, engine.answer(self._images).spikes)
            return
        expected = np.array(entry.header["logits"], np.float32)
        prove_logits(self._graph, expected, engine.run(self._images))

    def _made(self, form: Form, *, watched: bool) -> Engine:
        """A new engine, kept if it is right.

        Raises:
            Unbuilt, Refused, Wrong: Saying why there is none.
        """
        expected = None if watched else self._expected(form)
        piece = self._piece(form, watched)
        network = lower(self._graph, form)
        outputs = [network.sums(), *(network.spikes() if watched else ())]
        model = network.op.model(*outputs).SerializeToString()
        payload = build(self._library.name, self._device.index, model, piece.request)
        engine = self._opened(payload, piece)
        if expected is None:
            expected = prove_spikes(self._graph, self._golden, engine.answer(self._images).spikes)
        prove_logits(self._graph, expected, engine.run(self._images))
        if self._cache is not None:
            header: dict[str, Any] = {"is": piece.description, "logits": expected.tolist()}
            self._cache.store(piece.key, header, payload)
        return engine

    def _expected(self, form: Form) -> FloatArray:
        """The logits that follow from the spikes of the form's watched twin."""
        twin = self._kept(form, watched=True) or self._made(form, watched=True)
        return prove_spikes(self._graph, self._golden, twin.answer(self._images).spikes)

    def _opened(self, payload: bytes, piece: Workpiece) -> Engine:
        return Engine(
            self._library,
            self._device,
            payload,
            self._graph,
            largest=piece.request.largest,
            watched=piece.watched,
        )

    def _latency(self, engine: Engine) -> float:
        """Seconds for one picture, as a camera's would be answered."""
        picture = self._images[:1]
        for _ in range(WARM_RUNS):
            engine.run(picture)
        return median(_seconds(engine, picture) for _ in range(TIMED_RUNS))

    def _load(self, key: str) -> Entry | None:
        return None if self._cache is None else self._cache.load(key)

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext() if self._cache is None else self._cache.lock(self._piece("fp32").key)

    def _choice(self, forms: Sequence[Form]) -> str:
        """The key under which the fastest of `forms` is remembered."""
        return self._piece("fp32", choice=",".join(forms)).key

    def _piece(self, form: Form, watched: bool = False, choice: str = "") -> Workpiece:
        return Workpiece.of(
            self._graph, self._golden, self._library, self._device, form, watched, choice
        )


def _seconds(engine: Engine, picture: Any) -> float:
    start = time.perf_counter()
    engine.run(picture)
    return time.perf_counter() - start
