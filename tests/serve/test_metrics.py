"""What the server counts: few labels, and nothing of what is gone."""

import asyncio
import shutil
import time
from importlib import resources
from pathlib import Path

import numpy as np
from serving import PATIENCE
from starlette.routing import Route

from snn_runtime.model import BUNDLED
from snn_serve.bodies import Bodies
from snn_serve.decoders import Decoders
from snn_serve.gate import route_of
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics
from snn_serve.models import Models, Source
from snn_serve.routes import PAGES, Routes

BUNDLED_FILE = Path(str(resources.files("snn_runtime"))) / BUNDLED


def test_every_path_has_its_label_and_strangers_share_one() -> None:
    limits, metrics = Limits(), Metrics()
    models, decoders = Models(Source(), limits, metrics), Decoders(limits, metrics)
    router = Routes(limits, models, decoders, Bodies(limits, metrics), metrics).router()
    paths = {route.path for route in router.routes if isinstance(route, Route)} - PAGES.keys()
    labels = {path: path.split("/")[1] for path in paths if not path.endswith("/infer")}
    assert {path: route_of(path) for path in labels} == labels
    assert {route_of(path) for path in paths - labels.keys()} == {"infer"}
    strangers = ("/models", "/nobody", "nothing", "", *PAGES)
    assert {route_of(path) for path in strangers} == {"other"}


def test_what_is_gone_has_no_series(tmp_path: Path) -> None:
    """Neither a model, unless it is there again, nor a layer that a newer model has not."""
    metrics, two = Metrics(), tmp_path / "two.onnx"
    fired = np.ones(3, np.uint8)

    def shown(labels: str) -> bool:
        return f"{{{labels}}}".encode() in metrics.text()

    async def reloaded() -> None:
        source = Source(folder=tmp_path, backend="event", threads=1)
        models = Models(source, Limits(answer_seconds=10 * PATIENCE), metrics)
        models.add((name, source.loaded(path)) for name, path in source.found().items())
        for name in ("one", "two"):
            metrics.saw_spikes(name, {"old": fired})
        with models.named("two").admitted(1):
            two.unlink()
            await models.reload()
            shutil.copy(BUNDLED_FILE, two)
            await models.reload()
        await asyncio.sleep(0.2)  # the first one has ended
        assert shown('model="two"') and shown('layer="old",model="two"')
        two.unlink()
        await models.reload()
        until = time.monotonic() + PATIENCE
        while b'model="two"' in metrics.text() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        assert b'model="two"' not in metrics.text()
        await models.close()

    for name in ("one", "two"):
        shutil.copy(BUNDLED_FILE, tmp_path / f"{name}.onnx")
    asyncio.run(reloaded())
    assert shown('layer="old",model="one"') and shown('model="one"')
    metrics.saw_spikes("one", {"new": fired})
    assert shown('layer="new",model="one"') and not shown('layer="old",model="one"')
