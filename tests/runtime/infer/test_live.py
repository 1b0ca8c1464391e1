"""Pictures and cameras on the network, from a real server: what it shows now, or nothing."""

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from bad_inputs.pictures import encoded
from infer_command import RED, Command, finish, start
from mjpeg_server import MJPEG, Page, Request, picture, serving
from PIL import Image

from snn_runtime.addresses import public
from snn_runtime.infer import cli as infer

pytestmark = pytest.mark.usefixtures("at_leisure")


def jpeg(colour: str, size: tuple[int, int] = (64, 48)) -> bytes:
    return encoded(Image.new("RGB", size, colour), "JPEG")


def noisy(colour: str, n: int) -> bytes:
    """A picture of a colour that no other `n` has."""
    image = Image.new("RGB", (64, 48), colour)
    image.putpixel((0, n), (n, n, n))
    return encoded(image, "JPEG", quality=95)


def labels(out: bytes) -> list[str]:
    return [line.split(": ")[1].split()[0] for line in out.decode().splitlines()]


def stream(*pictures: bytes, pause: float = 0.05) -> Page:
    def page(request: Request) -> None:
        request.begin(MJPEG)
        for data in pictures:
            request.part(data)
            time.sleep(pause)

    return page


def moved(target: str) -> Page:
    return lambda request: request.begin("text/plain", 302, Location=target, Content_Length="0")


# One picture


def test_a_picture_at_an_address(snn_infer: Command) -> None:
    with serving(a=picture(jpeg("blue")), png=picture(RED, "image/png"), b=moved("/a")) as server:
        outcome = snn_infer(f"{server.url}/a", f"{server.url}/png", f"{server.url}/b")
    assert outcome.code == 0 and labels(outcome.out) == ["blue", "red", "blue"]
    assert outcome.out.startswith(f"{server.url}/a: blue".encode())


def test_an_answer_without_a_picture_is_told(snn_infer: Command) -> None:
    empty = {"a": picture(b""), "b": lambda request: request.begin("image/jpeg", 204)}
    with serving(**empty) as server:
        for path in empty:
            outcome = snn_infer("--format", "json", f"{server.url}/{path}")
            assert outcome.code == 3 and outcome.codes == {path: "empty_file"}
            assert f"error: {server.url}/{path}: is empty, 0 bytes [empty_file]" in outcome.err


def test_what_is_no_picture_or_no_address(snn_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(RED)
    local = f"file://{tmp_path}/secret.png"
    with serving(html=picture(b"<html>" * 9), file=moved(local)) as server:
        server.pages["/none"] = lambda request: request.send_error(404)
        for path, said in (
            ("none", "the server answers 404 Not Found [unreachable]"),
            ("html", "looks like HTML page"),
            ("file", "[unreachable]"),
        ):
            outcome = snn_infer(f"{server.url}/{path}")
            assert (outcome.code, outcome.out) == (3, b"") and said in outcome.err
    for url in ("http://", "http://[::1", "http://127.0.0.1:port/", "http://127.0.0.1:65536/"):
        outcome = snn_infer(url)
        assert outcome.code == 3 and "is no address: " in outcome.err, url
        assert outcome.err.count("\n") <= 2, url


def test_users_are_named_to_the_server_and_to_nobody_else(snn_infer: Command) -> None:
    def page(request: Request) -> None:
        if request.has_user("me:p@ss"):
            picture(jpeg("red"))(request)

    with serving(a=page) as server:
        url = server.url.replace("//", "//me:p%40ss@") + "/a"
        outcome = snn_infer(url)
        assert labels(outcome.out) == ["red"] and "p%40ss" not in outcome.out.decode() + outcome.err
        outcome = snn_infer(f"{server.url}/a")
        assert outcome.code == 3 and "401 Unauthorized" in outcome.err
    assert public(url) == f"{server.url}/a"


def test_an_address_of_one_picture_is_read_again_and_again(snn_infer: Command) -> None:
    shown = iter([jpeg("red"), jpeg("red"), jpeg("blue")])

    def page(request: Request) -> None:
        picture(next(shown, b""))(request)

    with serving(a=page) as server:
        outcome = snn_infer(
            "--fps", "5", "--camera-timeout", "1", "--camera-retries", "0", f"{server.url}/a"
        )
    assert labels(outcome.out)[:2] == ["red", "blue"]


def test_it_may_be_read_less_often_than_a_camera_may_be_silent(snn_infer: Command) -> None:
    shown = iter([jpeg("red"), jpeg("lime"), jpeg("blue")])

    def page(request: Request) -> None:
        if data := next(shown, None):
            return picture(data)(request)
        return request.send_error(404)

    with serving(a=page) as server:
        outcome = snn_infer("--fps", "2", "--camera-timeout", "0.1", f"{server.url}/a")
    assert labels(outcome.out) == ["red", "green", "blue"] and outcome.code == 4


# Cameras


def test_a_camera_is_answered_picture_by_picture_until_it_is_lost(snn_infer: Command) -> None:
    colours = ["red", "lime", "blue"] * 3
    shown = stream(*(noisy(colour, n) for n, colour in enumerate(colours)), pause=0.1)
    with serving(cam=shown) as server:
        outcome = snn_infer("--camera-retries", "0", f"{server.url}/cam")
    assert outcome.code == 75
    assert outcome.err.splitlines()[-1] == (
        f"snn-infer: error: {server.url}/cam: is lost: it ended [camera_lost]"
    )
    lines = outcome.out.decode().splitlines()
    names = [line.split(": ")[0] for line in lines]
    numbers = [int(name.split("#")[1].split("@")[0]) for name in names]
    assert numbers == sorted(set(numbers)) and len(numbers) >= 5
    expected = [{"lime": "green"}.get(colours[n - 1], colours[n - 1]) for n in numbers]
    assert labels(outcome.out) == expected


def test_a_camera_is_unplugged_and_comes_back_with_another_size(snn_infer: Command) -> None:
    connections = iter(
        [
            stream(jpeg("red"), pause=0.2),
            lambda request: request.send_error(503),
            lambda request: None,
            stream(jpeg("blue", (320, 240)), pause=0.2),
        ]
    )

    def page(request: Request) -> None:
        next(connections, lambda request: request.send_error(503))(request)

    with serving(cam=page) as server:
        outcome = snn_infer("--camera-retries", "3", f"{server.url}/cam")
    assert outcome.code == 75 and labels(outcome.out) == ["red", "blue"]
    assert "/cam: it ended; trying again in" in outcome.err
    assert "/cam: the server answers 503" in outcome.err


def test_a_frozen_camera_never_answers_twice(snn_infer: Command) -> None:
    frozen = stream(*[jpeg("red")] * 40, pause=0.02)
    with serving(cam=frozen) as server:
        outcome = snn_infer("--camera-timeout", "0.2", "--camera-retries", "1", f"{server.url}/cam")
    assert outcome.code == 75 and labels(outcome.out) == ["red"]
    assert "the same picture for 0.2 s" in outcome.err


@pytest.mark.parametrize("pause", [0.05, 9])
def test_a_camera_that_trickles_or_stalls_is_lost(pause: float, snn_infer: Command) -> None:
    stop = threading.Event()

    def page(request: Request) -> None:
        request.begin(MJPEG)
        request.part(jpeg("red"))
        for byte in jpeg("blue"):
            request.wfile.write(bytes([byte]))
            if stop.wait(pause):
                return

    with serving(cam=page) as server:
        began = time.monotonic()
        outcome = snn_infer("--camera-timeout", "0.3", "--camera-retries", "0", f"{server.url}/cam")
        stop.set()
    assert outcome.code == 75 and labels(outcome.out) == ["red"]
    assert time.monotonic() - began < 9


def test_half_a_picture_costs_no_other(snn_infer: Command) -> None:
    whole = encoded(Image.effect_noise((200, 200), 90).convert("RGB"), "JPEG")
    half = whole[: len(whole) // 2]
    with serving(cam=stream(jpeg("red"), half, jpeg("blue"), pause=0.3)) as server:
        outcome = snn_infer("--camera-retries", "0", f"{server.url}/cam")
    assert labels(outcome.out) == ["red", "blue"]
    assert b"#3@" in outcome.out  # where the second ended was seen when the third came


def test_a_host_that_is_dead_is_tried_and_given_up(snn_infer: Command) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/cam"
        outcome = snn_infer("--camera-retries", "2", url)
    assert outcome.code == 75 and outcome.err.count("trying again") == 2
    assert outcome.err.splitlines()[-1].endswith(
        f"{url}: is lost: no connection: Connection refused [camera_lost]"
    )


def test_pictures_a_second(snn_infer: Command) -> None:
    shown = stream(*(noisy("red", n) for n in range(40)), pause=0.02)
    with serving(cam=shown) as server:
        outcome = snn_infer("--fps", "5", "--camera-retries", "0", f"{server.url}/cam")
    assert 2 <= len(labels(outcome.out)) <= 8


def test_an_interrupt_ends_it(model: Path) -> None:
    endless = stream(*(noisy("red", n % 48) for n in range(2000)), pause=0.02)
    with serving(cam=endless) as server:
        process = start(model, f"{server.url}/cam", stdout=subprocess.PIPE)
        assert process.stdout and b"red" in process.stdout.readline()
        process.send_signal(2)
        assert process.wait(timeout=10) == 130
        assert finish(process).err.endswith("snn-infer: interrupted\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fps", "2", "a.png"], "no INPUT is one"),
        (["--fps", "0", "http://a/"], "is not a number from 1/86400, one a day"),
        (["--camera-timeout", "nan", "http://a/"], "is not a number above 0"),
        (["--shard", "1/2", "http://a/"], "is for what has an end"),
        (["--move-to", "{label}", "HTTP://a/"], "films and cameras are none"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], said: str, snn_infer: Command) -> None:
    outcome = snn_infer(*words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1) and said in outcome.err


def test_defaults() -> None:
    args = infer.parse_args(["http://a/"])
    assert (args.fps, args.camera_timeout, args.camera_retries) == (None, 5.0, 5)
