"""What each path answers."""

import asyncio
import base64
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from importlib.metadata import version
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from snn_runtime.answer import Answer, answers_of
from snn_runtime.graph.reference import Spikes
from snn_runtime.video.latest import Latest
from snn_serve import PROGRAM, inference
from snn_serve.batcher import Batcher, Pictures
from snn_serve.bodies import Bodies, number_of, picture_of
from snn_serve.decoders import Decoders
from snn_serve.gate import json_response
from snn_serve.limits import Limits
from snn_serve.metrics import CONTENT_TYPE, Metrics
from snn_serve.models import Models
from snn_serve.refusal import Refusal, bad_request
from snn_serve.stream import Stream

TOP = 5
"""Labels of an answer, where nobody says."""
PAGES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/api": ("api.html", "text/html; charset=utf-8"),
    "/api.js": ("api.js", "text/javascript; charset=utf-8"),
    "/openapi.json": ("openapi.json", "application/json"),
}


class Routes:
    """The paths of one server, and what they share."""

    def __init__(
        self,
        limits: Limits,
        models: Models,
        decoders: Decoders,
        bodies: Bodies,
        metrics: Metrics,
        *,
        tell: Callable[[str, Answer], None] | None = None,
        camera: Callable[[], Latest] | None = None,
    ) -> None:
        self._models, self._decoders = models, decoders
        self._bodies, self._metrics, self._queue = bodies, metrics, limits.queue
        self._tell = tell
        """Told every answer, by the name of its model."""
        self.stream = Stream(camera, self._answer, limits.camera_rate)
        """Answers to the server's own camera."""
        self.leaving = False
        """Whether the server has been told to end."""

    def router(self) -> Router:
        """Return the application without its gate."""
        model = "/v2/models/{name}"
        routes = [
            Route("/predict", self.predict, methods=["POST"]),
            Route("/stream", self.stream.answer),
            Route("/metrics", self.metrics),
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models", self.models),
            *(Route(path, _Page(*page)) for path, page in PAGES.items()),
        ]
        for place in (model, f"{model}/versions/{{version}}"):
            routes.append(Route(place, self.model))
            routes.append(Route(f"{place}/ready", self.model_ready))
            routes.append(Route(f"{place}/infer", self.infer, methods=["POST"]))
        return Router(routes, redirect_slashes=False)

    async def predict(self, request: Request) -> Response:
        """One picture: its labels as snn-infer gives them, and if asked the spikes."""
        name, top, shown = _wishes(request)
        self._models.named(name)
        with self._bodies.room() as room:
            body = await self._bodies.read(request, room)
            data = await picture_of(request, body)
            return json_response(await self._answer(data, shown, name, top))

    async def _answer(
        self, data: bytes, shown: bool, name: str | None = None, top: int = TOP
    ) -> dict[str, Any]:
        """The fields of an answer to one picture, by a model's name, with its spikes if asked."""
        batcher, begun = self._models.named(name), time.perf_counter()
        with batcher.admitted(1):
            image, warnings = await self._prepared(batcher, data)
            logits, distances = await batcher.observe(image[np.newaxis])
            spikes = await batcher.spikes(image) if shown else None
        model = batcher.model
        calibration = model.graph.calibration
        (answer,) = answers_of(
            logits, model.labels, calibration, [warnings], top, distances=distances
        )
        if self._tell is not None:
            self._tell(batcher.name, answer)
        taken = time.perf_counter() - begun
        fields = {"model": batcher.name, "engine": model.engine, "seconds": round(taken, 6)}
        layers = {} if spikes is None else {"layers": _layers(spikes)}
        return {"ok": True, **answer.record(), **fields, **layers}

    async def infer(self, request: Request) -> Response:
        """The protocol's tensors or pictures."""
        self._named(request)
        with self._bodies.room() as room:
            body = await self._bodies.read(request, room)
            batcher = self._named(request)
            length = request.headers.get(inference.HEADER)
            asked = inference.read(body, length, batcher.model.graph.image, self._queue)
            with batcher.admitted(asked.count):
                images = asked.images
                if images is None:
                    images = await self._all_prepared(batcher, asked.pictures)
                # A post needs to know as well: of what is unfamiliar nothing is posted.
                wanted = "unfamiliar" in asked.outputs or self._tell is not None
                logits, distances = await batcher.observe(images, distances=wanted)
        model = batcher.model
        calibration = model.graph.calibration
        answers = answers_of(logits, model.labels, calibration, top=TOP, distances=distances)
        if self._tell is not None:
            for each in answers:
                self._tell(batcher.name, each)
        answer, split = inference.written(
            batcher.name, asked, logits, calibration.probabilities(logits), answers
        )
        if split is None:
            return Response(answer, media_type="application/json")
        headers = {inference.HEADER: str(split)}
        return Response(answer, headers=headers, media_type="application/octet-stream")

    async def models(self, request: Request) -> Response:
        """All models, for people and pages."""
        about = {"default": self._models.first, "models": [*map(_about, self._models)]}
        return json_response({**about, "camera": self.stream.has_camera})

    async def server(self, request: Request) -> Response:
        extensions = ["binary_tensor_data"]
        about = {"name": PROGRAM, "version": version("iir-snn"), "extensions": extensions}
        return json_response(about)

    async def model(self, request: Request) -> Response:
        batcher = self._named(request)
        return json_response(inference.metadata(batcher.name, batcher.model))

    async def model_ready(self, request: Request) -> Response:
        batcher = self._named(request)
        self._check_ready(batcher.ready)
        return json_response({"name": batcher.name, "ready": True})

    async def live(self, request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        self._check_ready(self._models.ready)
        return json_response({"ready": True})

    async def metrics(self, request: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    def _check_ready(self, ready: bool) -> None:
        if self.leaving or not ready:
            raise Refusal(503, "not_ready", "the server ends, or is too busy, or lost its device")

    def _named(self, request: Request) -> Batcher:
        if request.path_params.get("version", inference.VERSION) != inference.VERSION:
            raise Refusal(404, "no_such_model", "models have version 1 only")
        return self._models.named(str(request.path_params["name"]))

    async def _all_prepared(self, batcher: Batcher, pictures: Sequence[bytes]) -> Pictures:
        """As many at once as there are decoders. Where one cannot be used no other is begun, and
        who has begun is waited for: a decoder that is left at its picture has to be ended."""
        left, images = deque(enumerate(pictures)), dict[int, Any]()

        async def some() -> None:
            while left:
                place, picture = left.popleft()
                try:
                    images[place], _ = await self._prepared(batcher, picture)
                except BaseException:
                    left.clear()
                    raise

        tries = [some() for _ in range(self._decoders.count)]
        for error in await asyncio.gather(*tries, return_exceptions=True):
            if error is not None:
                raise error
        return np.stack([images[place] for place in range(len(pictures))])

    async def _prepared(self, batcher: Batcher, data: bytes) -> Any:
        with batcher.decode_seconds.time():
            return await self._decoders.prepare(data, batcher.model.graph.image)


class _Page:
    """A file of the package, answered as it is."""

    def __init__(self, name: str, kind: str) -> None:
        self._body = resources.files("snn_serve").joinpath("page", name).read_bytes()
        self._kind = kind

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {"content-type": self._kind, "cache-control": "no-cache"}
        await Response(self._body, headers=headers)(scope, receive, send)


def _wishes(request: Request) -> tuple[str | None, int, bool]:
    """Model, labels of an answer, and whether spikes are shown: the parameters of `/predict`."""
    given = request.query_params
    if unknown := given.keys() - {"model", "top", "spikes"}:
        raise bad_request(f"{len(unknown)} parameters not known: expected model, top, spikes")
    if len(given.multi_items()) > len(given):
        raise bad_request("a parameter is there twice")
    top, spikes = number_of(given.get("top", str(TOP))), given.get("spikes", "false")
    if top is None or not 0 < top < 10**6 or spikes not in ("true", "false"):
        raise bad_request("expected top from 1, and spikes true or false")
    return given.get("model"), top, spikes == "true"


def _about(batcher: Batcher) -> dict[str, Any]:
    model = batcher.model
    size = {"height": model.graph.image.height, "width": model.graph.image.width}
    about = {"name": batcher.name, "engine": model.engine, "golden": model.golden}
    return {**about, "labels": model.labels, "image": size}


def _layers(spikes: Mapping[str, Spikes]) -> list[dict[str, Any]]:
    """Each population's neurons in order, a bit each whether it fired, the first bit highest."""
    return [
        {
            "name": name,
            "shape": sent.shape,
            "rate": float(np.count_nonzero(sent)) / sent.size,
            "bits": base64.b64encode(np.packbits(sent != 0).tobytes()).decode(),
        }
        for name, sent in spikes.items()
    ]
