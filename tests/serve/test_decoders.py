"""A picture that ends every decoder it meets is refused; a decoder that was there before is not."""

import asyncio
import sys
from pathlib import Path

import pytest
from serving import CAT, PATIENCE

import snn_runtime
from snn_runtime.errors import InputError, ResourceError
from snn_serve.decoders import Decoders
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics

DIES = "import os, sys; print(flush=True); sys.stdin.buffer.read(100); os._exit(9)"

ONCE = """
import json, os, sys
folder, place = sys.argv[1:]
open(os.path.join(folder, str(os.getpid())), "w").close()
if len(os.listdir(folder)) > 2:
    sys.stdin.buffer.read()  # one that is started later is never ready
print(flush=True)
head = json.loads(sys.stdin.buffer.readline())
sys.stdin.buffer.read(head["length"])
try:
    os.mkdir(place)
except FileExistsError:
    pixels = bytes(3 * head["height"] * head["width"])
    told = json.dumps({"warnings": []}).encode() + bytes([10])
    sys.stdout.buffer.write(told + pixels)
    sys.stdout.buffer.flush()
    sys.stdin.buffer.read()
"""
"""The first of two that is given a picture dies of it, the other answers."""


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


def test_a_picture_does_not_wait_for_the_next_decoder(tmp_path: Path) -> None:
    """Another one is free, and decodes it."""
    (tmp_path / "started").mkdir()

    async def ask() -> None:
        places = (str(tmp_path / "started"), str(tmp_path / "died"))
        command = [sys.executable, "-c", ONCE, *places]
        decoders = Decoders(Limits(decoders=2), Metrics(), command)
        await decoders.start()
        image = snn_runtime.load().graph.image
        pixels, _ = await asyncio.wait_for(decoders.prepare(CAT.read_bytes(), image), PATIENCE)
        assert not pixels.any()
        await decoders.close()

    asyncio.run(ask())
    assert len(list((tmp_path / "started").iterdir())) <= 3


@pytest.mark.parametrize("command", [["/no/such/program"], [sys.executable, "-c", ""]])
def test_where_no_decoder_starts_the_picture_is_not_blamed(command: list[str]) -> None:
    async def ask() -> None:
        decoders = Decoders(Limits(decoders=1), Metrics(), command)
        for _ in range(2):
            with pytest.raises(ResourceError, match="no decoder starts"):
                await decoders.prepare(CAT.read_bytes(), snn_runtime.load().graph.image)
        await decoders.close()

    asyncio.run(ask())
