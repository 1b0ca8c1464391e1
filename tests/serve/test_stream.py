"""Answers to the server's camera: the newest for everybody, and none that is old."""

import asyncio
import http.client
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from infer_command import colours
from mjpeg_server import Camera, jpeg, serving
from rtsp_server import Viewer, showing
from serving import Running, running

from snn_runtime import model_file
from snn_runtime.errors import DeviceError, InputError, SnnError
from snn_runtime.video.latest import Frame, Latest, Shown
from snn_serve import stream as stream_module
from snn_serve.cli import parse_args, run
from snn_serve.refusal import Refusal
from snn_serve.stream import Stream


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "colours.onnx"
    model_file.write(colours(), path)
    return path


@contextmanager
def listening(
    server: Running, headers: dict[str, str] | None = None, path: str = "/stream"
) -> Iterator[http.client.HTTPResponse]:
    connection = server.connect()
    connection.request("GET", path, headers=headers or {})
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and fields of each, until the server ends it."""
    kind = ""
    while line := answer.readline().decode():
        if line.startswith("event: "):
            kind = line[7:-1]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])


def until(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_answers_to_a_camera(model: Path) -> None:
    camera = Camera()
    with (
        serving(cam=camera.page) as web,
        running("--model", model, "--camera", f"{web.url}/cam", camera_rate=20) as server,
    ):
        assert server.json("/v2/models")["camera"] is True and camera.began == 0
        schemas = server.json("/openapi.json")["components"]
        whole = {**schemas["schemas"]["Frame"], "components": schemas}
        with listening(server) as one, listening(server) as two:
            assert one.headers["content-type"].startswith("text/event-stream")
            found = list(itertools.islice(events(one), 12))
            others = list(itertools.islice(events(two), 3))
            assert (camera.began, camera.here) == (1, 1)  # one reader for both
        until(lambda: camera.here == 0)  # and none where nobody listens
        for kind, fields in found + others:
            jsonschema.Draft202012Validator(whole).validate(fields)
            assert kind == "message" and fields["predictions"][0]["label"] in ("red", "blue")
        numbers = [fields["frame"] for _, fields in found]
        assert numbers == sorted(set(numbers))
        with listening(server) as again:
            assert next(events(again))[1]["ok"]
        until(lambda: camera.here == 0)
        with listening(server) as one, listening(server, path="/stream?spikes=true") as shown:
            answers = [fields for _, fields in itertools.islice(events(shown), 3)]
            assert all("layers" not in fields for _, fields in itertools.islice(events(one), 3))
        layers = server.json("/predict?spikes=true", jpeg("red", 0))["layers"]
        for fields in answers:
            jsonschema.Draft202012Validator(whole).validate(fields)
            assert [layer["shape"] for layer in fields["layers"]] == [x["shape"] for x in layers]
        for wrong in ("spikes=yes", "spikes=true&spikes=true", "top=1"):
            assert server.ask(f"/stream?{wrong}")[0] == 400
        until(lambda: camera.here == 0)
        assert server.end() == 0


def test_who_asks_ahead_and_leaves_is_not_listening(model: Path) -> None:
    camera = Camera()
    with (
        serving(cam=camera.page) as web,
        running("--model", model, "--camera", f"{web.url}/cam") as server,
    ):
        with server.socket() as connection, connection.makefile("rb") as answer:
            ask = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connection.sendall((ask.format("/stream") + ask.format("/v2") * 2).encode())
            while not answer.readline().startswith(b"data: "):
                pass
            assert camera.here == 1
        until(lambda: camera.here == 0)


def test_streams_end_when_the_server_does(model: Path) -> None:
    camera = Camera()
    with (
        serving(cam=camera.page) as web,
        running("--model", model, "--camera", f"{web.url}/cam", grace_seconds=1) as server,
        listening(server) as one,
    ):
        shown = events(one)
        next(shown)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert len(list(shown)) < 10  # the server ends it
        server.until("draining")
        assert server.process.wait(20) == 0 and time.monotonic() - began < 15
        until(lambda: camera.here == 0)


def test_a_camera_that_stalls_has_no_answers_and_is_said_to(model: Path) -> None:
    camera = Camera()
    with (
        serving(cam=camera.page) as web,
        running("--model", model, "--camera", f"{web.url}/cam") as server,
        listening(server) as one,
    ):
        shown = events(one)
        next(shown)
        camera.stalls.set()
        kinds = (kind for kind, _ in shown)
        while next(kinds) == "message":
            pass
        with listening(server) as late:  # nobody is shown what was there before
            assert next(events(late))[0] == "silence"
        camera.stalls.clear()
        while next(kinds) == "silence":
            pass


def test_a_camera_by_rtsp(model: Path) -> None:
    def show(viewer: Viewer) -> None:
        begun = time.monotonic()
        for n in range(400):
            viewer.show(jpeg("lime", n), time.monotonic() - begun)
            time.sleep(0.04)

    with showing(show) as camera, running("--model", model, "--camera", camera.url) as server:
        before = server.children()
        with listening(server) as one:
            fields = next(events(one))[1]
            assert len(server.children() - before) == 1
        assert fields["predictions"][0]["label"] == "green"
        until(lambda: server.children() == before)  # the reading process is gone


def test_who_may_listen(model: Path, server: Running, tmp_path: Path) -> None:
    status, _, body = server.ask("/stream")
    assert status == 404 and json.loads(body)["code"] == "no_camera"
    assert server.json("/v2/models")["camera"] is False
    (tmp_path / "token").write_text("0123456789abcdef")
    words = (
        "--model",
        model,
        "--token-file",
        tmp_path / "token",
        "--camera",
        "http://127.0.0.1:9/",
    )
    with running(*words) as kept:
        assert kept.ask("/stream")[0] == 401
        with listening(kept, {"authorization": "Bearer 0123456789abcdef"}) as one:
            assert one.status == 200


@pytest.mark.parametrize("source", ["film.mp4", "camera:x", "csi:", "0", "http://[::1"])
def test_what_is_no_camera_is_refused_at_the_start(source: str) -> None:
    with pytest.raises(SnnError) as refused:
        run(parse_args(["--check", "--port", "0", "--camera", source]))
    assert (refused.value.code, refused.value.exit_code) == ("bad_flag", 2)


# Without a server


def camera_of(*frames: bytes) -> Callable[[], Latest]:
    def connect() -> Any:
        for data in frames:
            yield Shown(data, time.time())
            time.sleep(0.02)
        while True:
            time.sleep(0.01)
            yield None

    return lambda: Latest("camera", connect, timeout=60, retries=0)


async def label(data: bytes, shown: bool) -> dict[str, Any]:
    return {"ok": True, "said": data.decode(), **({"layers": ["seen"]} if shown else {})}


def said(event: bytes) -> dict[str, Any]:
    return dict(json.loads(event.partition(b"data: ")[2]))


def test_a_slow_listener_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def listens() -> None:
        stream = Stream(None, label, 1000)
        shown = stream.events(False)
        await anext(shown)
        waiting = asyncio.ensure_future(anext(shown))
        await asyncio.sleep(0)
        for n in range(1, 101):
            await stream._answered(Frame("camera", b"%d" % n, n, time.time()))
        assert said(await waiting)["frame"] == 100
        for n in range(101, 201):
            await stream._answered(Frame("camera", b"%d" % n, n, time.time()))
        assert said(await anext(shown))["frame"] == 200
        await stream._answered(Frame("camera", b"old", 201, time.time()))
        now = time.monotonic()
        monkeypatch.setattr(stream_module, "SILENCE", 0.05)
        monkeypatch.setattr(time, "monotonic", lambda: now + 2)
        assert (await anext(shown)).startswith(b"event: silence\n")  # it came too late to be told

    asyncio.run(listens())


def test_what_goes_wrong_with_a_picture_or_a_camera_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_module, "LONGEST_PAUSE", 0.01)
    faults = [InputError("corrupt", "is corrupt"), Refusal(503, "busy", "too many"), None]
    opened = [DeviceError("opencv_backend", "has no GSTREAMER"), OSError("odd")]

    async def labels(data: bytes, shown: bool) -> dict[str, Any]:
        if (fault := faults.pop(0)) is not None:
            raise fault
        return await label(data, shown)

    def camera() -> Latest:
        if opened:
            raise opened.pop(0)
        return camera_of(b"a", b"b", b"c")()

    async def listens() -> None:
        stream = Stream(camera, labels, 1000)
        with stream.listening(True), stream.listening(False):
            shown, plain = stream.events(True), stream.events(False)
            await anext(shown)
            bad, good = said(await anext(shown)), said(await anext(shown))
            await anext(plain)
            assert good["layers"] == ["seen"] and "layers" not in said(stream._newest[False])
            assert bad["error"] == {"code": "corrupt", "message": "is corrupt"}
            assert good["said"] == "c" and not bad["ok"]
            stream.close()
            assert [event async for event in shown] == []

    asyncio.run(asyncio.wait_for(listens(), 30))
    assert "has no GSTREAMER [opencv_backend]; again in" in caplog.text
    assert "camera: OSError: odd; again in" in caplog.text
