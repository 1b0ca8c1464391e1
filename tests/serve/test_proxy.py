"""The server behind nginx, with the configuration that docs/how-to/serve.md shows."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsing import opened
from mjpeg_server import Camera
from mjpeg_server import serving as web_serving
from pages import blocks
from playwright.sync_api import Browser, expect
from serving import CAT, PATIENCE, Running, running

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
AROUND = """daemon off; worker_processes 1; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_buffer_size 1m;
  client_body_temp_path {place}/1; proxy_temp_path {place}/2; fastcgi_temp_path {place}/3;
  uwsgi_temp_path {place}/4; scgi_temp_path {place}/5;
{block}}}
"""
"""Bodies stay in memory: whom nginx runs its workers as reaches no folder of these tests."""


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(server: Running, place: Path) -> Iterator[int]:
    """Run nginx as the page says, but for ports and paths; yields its port."""
    if NGINX is None:
        pytest.skip("no nginx here; on Debian: apt-get install nginx-light")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=board.example"
    key, certificate = place / "board.key", place / "board.pem"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (block,) = (text for language, text in blocks("how-to/serve.md") if language == "nginx")
    for said, here in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/ssl/private", str(place)),
        ("/etc/ssl/certs", str(place)),
        ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
    ):
        assert said in block
        block = block.replace(said, here)
    (place / "nginx.conf").write_text(AROUND.format(place=place, block=block))
    process = subprocess.Popen([NGINX, "-c", place / "nginx.conf"], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + PATIENCE
        while not listens(port):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.communicate()


def test_the_page_below_a_path_of_nginx(browser: Browser, tmp_path: Path) -> None:
    camera = Camera()
    with (
        web_serving(cam=camera.page) as web,
        running("--allowed-host", "board.example", "--camera", f"{web.url}/cam") as server,
        nginx(server, tmp_path) as port,
    ):
        for page in opened(browser, ignore_https_errors=True):
            page.goto(f"https://board.example:{port}/snn/")
            expect(page.locator("#engine")).to_contain_text("10 classes")
            page.locator("#files").set_input_files(CAT)
            expect(page.locator("#answers h3")).to_have_text(["cat.jpg: cat"])
            page.get_by_role("button", name="Use the camera").click()
            expect(page.locator("#answers h3").first).to_contain_text("camera: ")
            page.get_by_role("button", name="Stop the camera").click()
            page.get_by_role("button", name="Show the server's camera").click()
            expect(page.locator("#answers h3").first).to_contain_text("server's camera: ")
            page.get_by_role("button", name="Stop the server's camera").click()
            page.get_by_role("link", name="API").click()
            expect(page.get_by_role("heading", name="POST /predict")).to_be_visible()
            page.get_by_role("link", name="The page").click()
            expect(page.locator("#engine")).to_contain_text("10 classes")
