"""A picture that ends every decoder it meets is refused; a decoder that was there before is not."""

import asyncio
import sys

import pytest
from serving import CAT

import snn_runtime
from snn_runtime.errors import InputError, ResourceError
from snn_serve.decoders import Decoders
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics

DIES = "import os, sys; print(flush=True); sys.stdin.buffer.read(100); os._exit(9)"


def test_the_second_death_is_the_pictures() -> None:
    async def ask() -> None:
        metrics = Metrics()
        decoders = Decoders(Limits(decoders=1), metrics, [sys.executable, "-c", DIES])
        await decoders.start()
        with pytest.raises(InputError, match="ends the process") as refused:
            await decoders.prepare(CAT.read_bytes(), snn_runtime.load().graph.image)
        assert refused.value.code == "decoder_lost"
        assert b"snn_decoders_lost_total 2.0" in metrics.text()
        await decoders.close()

    asyncio.run(ask())


@pytest.mark.parametrize("command", [["/no/such/program"], [sys.executable, "-c", ""]])
def test_where_no_decoder_starts_the_picture_is_not_blamed(command: list[str]) -> None:
    async def ask() -> None:
        decoders = Decoders(Limits(decoders=1), Metrics(), command)
        for _ in range(2):
            with pytest.raises(ResourceError, match="no decoder starts"):
                await decoders.prepare(CAT.read_bytes(), snn_runtime.load().graph.image)
        await decoders.close()

    asyncio.run(ask())
