"""Which engine serves: the fastest of those that are proven, built once and kept in the cache.

An engine is proven in three steps. A debug engine of its form, which outputs spikes, gave the
golden ones. The engine itself gave the logits that follow from them. It gives them again whenever
it is loaded. A cached engine that fails is quarantined and built again; a new engine that fails is
not used, and neither is its form.
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
from snn_runtime.engines.tensorrt.build import Unbuilt, build
from snn_runtime.engines.tensorrt.device import Device
from snn_runtime.engines.tensorrt.engine import Engine
from snn_runtime.engines.tensorrt.library import Library, Refused
from snn_runtime.engines.tensorrt.lowering import Form, lower
from snn_runtime.engines.tensorrt.spec import EngineSpec
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


class Engines:
    """The engines of one network on one device: cached, built and proven."""

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
        """Return the engine that serves: the only form's, or that of the fastest form.

        Raises:
            DeviceError: `backend_failed`: no engine can be built, or none is proven.
        """
        debug = not self._graph.exact
        known = self._remembered(forms, debug)
        if known is None:
            with self._locked():  # another process may have built it meanwhile
                known = self._remembered(forms, debug) or self._new_choice(forms, debug)
        return known

    def debug(self, form: Form) -> Engine:
        """Return a form's debug engine, which outputs spikes.

        Raises:
            DeviceError: `backend_failed`: it cannot be built or proven.
        """
        engine = self._cached(form, debug=True)
        if engine is None:
            with self._locked():
                engine = self._cached(form, debug=True) or self._proven([form], True)[0].engine
        return engine

    def _remembered(self, forms: Sequence[Form], debug: bool) -> Chosen | None:
        """The engine that an earlier choice left in the cache."""
        if len(forms) > 1:
            entry = self._load(self._choice(forms))
            forms = [entry.header["form"]] if entry else []
        engine = self._cached(forms[0], debug=debug) if forms else None
        return None if engine is None else Chosen(forms[0], engine)

    def _new_choice(self, forms: Sequence[Form], debug: bool) -> Chosen:
        proven = self._proven(forms, debug)
        if len(forms) == 1:
            return proven[0]
        fastest = min(proven, key=lambda chosen: self._latency(chosen.engine))
        if self._cache is not None:
            self._cache.store(self._choice(forms), {"form": fastest.form}, b"")
        return fastest

    def _proven(self, forms: Sequence[Form], debug: bool) -> list[Chosen]:
        """Engines of all forms that can be proven; of fp32, the last, only if no other can."""
        proven: list[Chosen] = []
        failed: list[str] = []
        for form in forms:
            if proven and form == "fp32":
                break  # never faster than a form with a quarter or half of the bytes
            try:
                engine = self._cached(form, debug=debug) or self._built(form, debug=debug)
                proven.append(Chosen(form, engine))
            except (Unbuilt, Refused, Wrong) as error:
                failed.append(f"{form}: {error}")
        if not proven:
            raise DeviceError(
                "backend_failed",
                f"backend tensorrt has no engine for the network: {'; '.join(failed)}",
            )
        for failure in failed:
            LOG.warning("TensorRT's %s; another form is used", failure)
        return proven

    def _cached(self, form: Form, *, debug: bool) -> Engine | None:
        """An engine built before, if it still proves itself."""
        spec = self._spec(form, debug)
        entry = self._load(spec.key)
        if entry is None or self._cache is None:
            return None
        try:
            engine = self._loaded(entry.payload, spec)
            self._prove(engine, entry, debug)
        except (Refused, Wrong) as error:
            self._cache.quarantine(spec.key, str(error))
            return None
        return engine

    def _prove(self, engine: Engine, entry: Entry, debug: bool) -> None:
        if debug:
            prove_spikes(self._graph, self._golden, engine.outputs(self._images).spikes)
            return
        expected = np.array(entry.header["logits"], np.float32)
        prove_logits(self._graph, expected, engine.run(self._images))

    def _built(self, form: Form, *, debug: bool) -> Engine:
        """A new engine, proven and put into the cache.

        Raises:
            Unbuilt, Refused, Wrong: It cannot be built, loaded or proven, with the reason.
        """
        expected = None if debug else self._expected(form)
        spec = self._spec(form, debug)
        network = lower(self._graph, form)
        outputs = [network.sums(), *(network.spikes() if debug else ())]
        model = network.op.model(*outputs).SerializeToString()
        payload = build(self._library.name, self._device.index, model, spec.request)
        engine = self._loaded(payload, spec)
        if expected is None:
            expected = prove_spikes(self._graph, self._golden, engine.outputs(self._images).spikes)
        prove_logits(self._graph, expected, engine.run(self._images))
        if self._cache is not None:
            header: dict[str, Any] = {"is": spec.description, "logits": expected.tolist()}
            self._cache.store(spec.key, header, payload)
        return engine

    def _expected(self, form: Form) -> FloatArray:
        """The logits that follow from the spikes of the form's debug engine."""
        engine = self._cached(form, debug=True) or self._built(form, debug=True)
        return prove_spikes(self._graph, self._golden, engine.outputs(self._images).spikes)

    def _loaded(self, payload: bytes, spec: EngineSpec) -> Engine:
        return Engine(
            self._library,
            self._device,
            payload,
            self._graph,
            largest=spec.request.largest,
            debug=spec.debug,
        )

    def _latency(self, engine: Engine) -> float:
        """Seconds for one picture, as a camera's would be answered."""
        picture = self._images[:1]
        for _ in range(WARM_RUNS):
            engine.run(picture)
        return median(_seconds(engine, picture) for _ in range(TIMED_RUNS))

    def _load(self, key: str) -> Entry | None:
        return None if self._cache is None else self._cache.load(key)

    def _locked(self) -> AbstractContextManager[None]:
        return nullcontext() if self._cache is None else self._cache.lock(self._spec("fp32").key)

    def _choice(self, forms: Sequence[Form]) -> str:
        """The key under which the fastest of `forms` is remembered."""
        return self._spec("fp32", choice=",".join(forms)).key

    def _spec(self, form: Form, debug: bool = False, choice: str = "") -> EngineSpec:
        whose = (self._graph, self._golden, self._library, self._device)
        return EngineSpec.of(*whose, form, debug=debug, choice=choice)


def _seconds(engine: Engine, picture: Any) -> float:
    start = time.perf_counter()
    engine.run(picture)
    return time.perf_counter() - start
