"""The page, in a real browser before the real server."""

import base64
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from browsing import opened
from mjpeg_server import Camera
from mjpeg_server import serving as web_serving
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from serving import CAT, PHOTOS, ROOT, Running, running

SHOTS = os.environ.get("SNN_SCREENSHOTS")
"""A folder for screenshots, for people to look at."""


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2}),
    ],
)
def test_pictures_are_labelled(
    browser: Browser, server: Running, name: str, settings: dict[str, Any]
) -> None:
    for page in opened(browser, **settings):
        page.goto(server.url)
        expect(page.locator("#engine")).to_contain_text("10 classes, 32 × 32")
        page.get_by_label("Drop pictures here, or choose them").set_input_files(
            [CAT, PHOTOS / "dog.jpg"]
        )
        answers = page.locator("#answers > li")
        expect(answers.locator("h3")).to_have_text(["dog.jpg: dog", "cat.jpg: cat"])
        expect(answers.nth(1).locator("ul li").first).to_have_text("cat99.8 %")
        expect(answers.first.locator(".about")).to_contain_text("ms in the server")
        expect(page.get_by_role("status")).to_have_text("dog.jpg: dog, 99.5 %")
        rates = server.json("/predict?spikes=true", (PHOTOS / "dog.jpg").read_bytes())["layers"]
        pictures = page.get_by_role("img", name="neurons fired")
        expect(pictures).to_have_count(len(rates))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        lit = page.evaluate(LIT)
        assert lit == [round(each["rate"] * count(each["shape"])) for each in rates]
        shot(page, name)


LIT = """[...document.querySelectorAll("canvas")].map((canvas) => {
  const pen = canvas.getContext("2d"), seen = {};
  const mark = getComputedStyle(document.documentElement).getPropertyValue("--mark").trim();
  const wanted = [1, 3, 5].map((i) => parseInt(mark.slice(i, i + 2), 16)).join();
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  let lit = 0;
  for (let i = 0; i < data.length; i += 4) lit += data.slice(i, i + 3).join() === wanted;
  return lit;
})"""
"""How many points of each raster have the colour of a spike."""


DROPPED = """(text) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "cat.jpg", { type: "image/jpeg" }));
  return transfer;
}"""


def test_a_picture_is_dropped_and_what_a_screen_reader_finds(page: Page, server: Running) -> None:
    page.goto(server.url)
    text = base64.b64encode(CAT.read_bytes()).decode()
    transfer = page.evaluate_handle(DROPPED, text)
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class(re.compile("over"))
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#drop")).not_to_have_class(re.compile("over"))
    expect(page.locator("#answers h3")).to_have_text("cat.jpg: cat")
    tree = page.locator("body").aria_snapshot()
    for found in (
        'combobox "Model"',
        'heading "Answers" [level=2]',
        'button "Drop pictures here, or choose them"',
        'button "Use the camera"',
        'status: "cat.jpg: cat, 99.8 %"',
        'heading "cat.jpg: cat" [level=3]',
        "listitem: cat 99.8 %",
    ):
        assert found in tree, tree
    rates = server.json("/predict?spikes=true", CAT.read_bytes())["layers"]
    assert len(re.findall('img "conv.*neurons fired"', tree)) == len(rates)


def count(shape: list[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def test_a_wrong_file_is_told(page: Page, server: Running, tmp_path: Path) -> None:
    wrong = tmp_path / "<b>notes<b>.txt"
    wrong.write_text("no picture")
    page.goto(server.url)
    page.locator("#files").set_input_files(wrong)
    card = page.locator("#answers > li.bad")
    expect(card.locator("h3")).to_have_text("<b>notes<b>.txt")
    expect(card.locator(".about")).to_contain_text("Refused: the picture is no image")
    expect(page.get_by_role("status")).to_contain_text("is no image")
    shot(page, "wrong")


def test_by_keyboard_alone(page: Page, server: Running) -> None:
    page.goto(server.url)
    expect(page.locator("#engine")).to_contain_text("classes")
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    assert names == ["model", "API", "files", "camera"]
    assert page.evaluate(
        "[...document.querySelectorAll('input, select, video')].every("
        "(each) => each.labels?.length || each.ariaLabel)"
    )


def test_a_busy_server_is_asked_again(page: Page) -> None:
    with running(queue=1, batch=1, decoders=1, decode_seconds=60, answer_seconds=60) as server:
        page.goto(server.url)
        expect(page.locator("#engine")).to_contain_text("classes")
        (decoder,) = server.decoders()
        os.kill(decoder, signal.SIGSTOP)
        with server.socket() as other:
            picture = CAT.read_bytes()
            head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}"
            other.sendall(f"{head}\r\n\r\n".encode() + picture)
            server.wait_for('snn_waiting{model="default"}', 1)
            page.locator("#files").set_input_files(CAT)
            expect(page.get_by_role("status")).to_contain_text("The server is busy")
            shot(page, "busy")
            os.kill(decoder, signal.SIGCONT)
            expect(page.locator("#answers h3")).to_have_text(["cat.jpg: cat"])


def test_a_server_that_is_gone_is_told(page: Page) -> None:
    with running() as server:
        page.goto(server.url)
        expect(page.locator("#engine")).to_contain_text("classes")
        server.end()
        page.locator("#files").set_input_files(CAT)
        expect(page.locator("#answers .about")).to_have_text("The server does not answer.")
        shot(page, "gone")


def test_the_camera(page: Page, server: Running) -> None:
    page.goto(server.url.replace("127.0.0.1", "localhost"))
    asked = server.metric('snn_requests_total{route="predict",status="200"}')
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#answers h3")).to_contain_text("camera: ")
    for _ in range(3):  # frame after frame
        with page.expect_response(lambda answer: "/predict" in answer.url) as answered:
            pass
        assert answered.value.status == 200
    assert server.metric('snn_requests_total{route="predict",status="200"}') >= asked + 3
    expect(page.get_by_role("img", name="neurons fired").first).to_be_visible()
    shot(page, "camera")
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.locator("video")).to_be_hidden()


STREAMS = """if (navigator.mediaDevices) {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.streams = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    streams.push(await ask(wanted));
    return streams.at(-1);
  };
}"""


def test_two_clicks_leave_no_camera_on(page: Page, server: Running) -> None:
    page.add_init_script(STREAMS)
    page.goto(server.url.replace("127.0.0.1", "localhost"))
    page.evaluate("for (const _ of [1, 2]) document.getElementById('camera').click()")
    expect(page.locator("#answers h3")).to_contain_text("camera: ")
    page.get_by_role("button", name="Stop the camera").click()
    states = "streams.flatMap((each) => each.getTracks().map((track) => track.readyState))"
    assert page.evaluate(states) == ["ended"]
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("button", name="Stop the camera")).to_be_visible()


HELD = """window.held = new Set();
const make = URL.createObjectURL, free = URL.revokeObjectURL;
URL.createObjectURL = (file) => { const made = make(file); held.add(made); return made; };
URL.revokeObjectURL = (made) => { held.delete(made); free(made); };"""


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_a_page_holds_no_file_that_has_been_shown_or_cannot_be(
    form: str, page: Page, server: Running, tmp_path: Path
) -> None:
    picture = tmp_path / f"cat.{form.lower()}"
    with Image.open(CAT) as image:
        image.save(picture, form)
    page.add_init_script(HELD)
    page.goto(server.url)
    page.locator("#files").set_input_files(picture)
    expect(page.locator("#answers h3")).to_have_text([f"{picture.name}: cat"])
    page.wait_for_function("held.size === 0")
    assert page.locator("#answers img").is_hidden() == (form == "TIFF")


def test_the_camera_of_the_server(page: Page) -> None:
    camera = Camera()
    with (
        web_serving(cam=camera.page) as web,
        running("--camera", f"{web.url}/cam") as server,
    ):
        page.goto(server.url)
        page.get_by_role("button", name="Show the server's camera").click()
        expect(page.locator("#answers h3")).to_contain_text("server's camera: ")
        expect(page.locator("#answers ul li")).to_have_count(5)
        expect(page.get_by_role("img", name="neurons fired").first).to_be_visible()
        shot(page, "server-camera")
        camera.stalls.set()
        expect(page.locator("#answers .bad .about")).to_contain_text("No picture for 5 s.")
        expect(page.locator("#answers ul li")).to_have_count(0)
        shot(page, "server-camera-stalls")
        camera.stalls.clear()
        expect(page.locator("#answers .bad")).to_have_count(0)
        page.get_by_role("button", name="Stop the server's camera").click()
        server.end()
        page.get_by_role("button", name="Show the server's camera").click()
        expect(page.get_by_role("status")).to_contain_text("server's camera: ")


def test_a_token_is_asked_for(page: Page, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    with running("--token-file", tmp_path / "token") as server:
        page.goto(server.url)
        page.get_by_label("This server wants its token").fill("0123456789abcdef")
        shot(page, "token")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#engine")).to_contain_text("classes")
        page.locator("#files").set_input_files(CAT)
        expect(page.locator("#answers h3")).to_have_text(["cat.jpg: cat"])


def test_the_api_page_shows_every_path(page: Page, server: Running) -> None:
    page.goto(f"{server.url}/api")
    expect(page.get_by_role("heading", name="POST /predict")).to_be_visible()
    document = server.json("/openapi.json")
    expect(page.locator("h2")).to_have_count(sum(map(len, document["paths"].values())))
    shot(page, "api")


def test_the_document_is_that_of_the_server(server: Running) -> None:
    """Every path of the code, and answers as it says."""
    document = server.json("/openapi.json")
    source = (ROOT / "runtime" / "snn_serve" / "routes.py").read_text()
    fixed = set(re.findall(r'Route\("(/[^"]+)"', source))
    assert fixed and fixed <= document["paths"].keys()
    assert all(path in fixed or path.startswith("/v2/models/{name}") for path in document["paths"])
    for path, name, body in (
        ("/predict?spikes=true", "Answer", CAT.read_bytes()),
        ("/predict", "Error", b"no picture"),
        ("/v2/models", "Models", None),
    ):
        whole = {**document["components"]["schemas"][name], "components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(server.json(path, body))
    for path in document["paths"]:
        if path == "/stream":  # without a camera
            continue
        made = path.replace("{name}", "default").replace("{version}", "1")
        method = "POST" if "post" in document["paths"][path] else "GET"
        assert server.ask(made, b"" if method == "POST" else None)[0] not in (404, 405), path
    assert json.dumps(document).count('"$ref"') > 10


def test_pages_are_answered_with_a_policy(server: Running) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
    ):
        status, headers, body = server.ask(path)
        assert status == 200 and headers["content-type"].startswith(kind) and body
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
