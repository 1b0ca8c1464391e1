"""A picture that ends every decoder it meets is refused; a decoder that was there before is not."""

import asyncio
import sys

import pytest
from serving import CAT

import snn_runtime
from snn_runtime.errors import InputError
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
