"""What the engine does wrong ends a request, never the server."""

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
from serving import PATIENCE

from snn_serve import batcher as batcher_module
from snn_serve.batcher import Batcher
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics
from snn_serve.refusal import Refusal

IMAGES = np.zeros((2, 4, 4, 3), np.uint8)


def fails(*_: object) -> NoReturn:
    raise RuntimeError("a bug")


def ones(images: Any) -> Any:
    return np.ones((len(images), 3), np.float32)


async def asked(model: Any) -> Any:
    """Logits, asked for twice, from a model that is made of these functions."""
    batcher = Batcher("m", model, Limits(), Metrics())
    try:
        asking = (batcher.observe(IMAGES, distances=False) for _ in range(2))
        return [(await asyncio.wait_for(each, PATIENCE))[0] for each in asking]
    finally:
        await batcher.close()


def test_a_look_at_the_spikes_that_fails_costs_no_answer() -> None:
    backend = SimpleNamespace(spikes=fails)
    answers = asyncio.run(asked(SimpleNamespace(logits=ones, backend=backend)))
    assert np.array_equal(answers, np.ones((2, 2, 3)))


def test_no_more_wait_than_are_answered_in_time() -> None:
    async def crowded() -> None:
        model: Any = SimpleNamespace()
        batcher = Batcher("m", model, Limits(answer_seconds=10), Metrics())
        for _ in range(100):
            batcher._learn(1.0)  # a picture a second: five in half of the time
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(batcher.admitted(1))
            with pytest.raises(Refusal, match="more pictures wait than may"):
                stack.enter_context(batcher.admitted(1))
        with batcher.admitted(16):  # alone, it may be answered
            pass
        for _ in range(200):
            with batcher.admitted(1):  # answered at once
                pass
        with ExitStack() as stack:
            for _ in range(64):
                stack.enter_context(batcher.admitted(1))
        await batcher.close()

    asyncio.run(crowded())


def test_a_queue_with_free_places_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nobody asks after the last refusal, because a proxy sends none to the unready."""
    monkeypatch.setattr(batcher_module, "FULL_FOR", 0.0)

    async def crowded() -> None:
        model: Any = SimpleNamespace()
        batcher = Batcher("m", model, Limits(queue=2), Metrics())
        with batcher.admitted(1):
            with batcher.admitted(1):
                with pytest.raises(Refusal, match="more pictures wait than may"):
                    batcher.check_room()
                assert not batcher.ready
            assert batcher.ready
        await batcher.close()

    asyncio.run(crowded())


@pytest.mark.parametrize("logits", [fails, lambda images: None])
def test_an_engine_that_fails_is_told_at_once(logits: Any) -> None:
    with pytest.raises(Exception, match=r"a bug|NoneType"):
        asyncio.run(asked(SimpleNamespace(logits=logits, backend=SimpleNamespace(spikes=fails))))
