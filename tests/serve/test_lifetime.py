"""Beginning, reading models again, ending; who may ask."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from graphs import example
from serving import CAT, PATHS, PATIENCE, Running, running, started
from starlette.datastructures import Headers

from snn_runtime.errors import SnnError, UsageError
from snn_runtime.model import BUNDLED
from snn_runtime.model_file import read_file, to_bytes, write
from snn_serve.cli import parse_args, run
from snn_serve.gate import Access
from snn_serve.refusal import Refusal
from snn_serve.server import Place

BUNDLED_FILE = Path(str(resources.files("snn_runtime"))) / BUNDLED
TOKEN = "0123456789abcdef0123"
HUNG_UP = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup lets every child ignore
from snn_serve import cli, decoders, models
of, name = {}
before = getattr(of, name)

def hung_up(*given):
    setattr(of, name, before)
    os.kill(os.getpid(), signal.SIGHUP)
    return before(*given)

setattr(of, name, hung_up)
sys.exit(cli.main())
"""
"""The command, to which SIGHUP comes when something is called for the first time."""
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


def test_a_request_that_has_begun_is_answered_before_the_end() -> None:
    picture = CAT.read_bytes()
    with running() as server, server.socket() as connection:
        connection.sendall(HEAD % len(picture) + picture[:1000])
        server.wait_for("snn_held_bytes", 1000)
        server.process.send_signal(signal.SIGTERM)
        server.until("draining")
        connection.sendall(picture[1000:])
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer
        assert server.process.wait(PATIENCE) == 0


def test_many_that_have_begun_are_answered_before_the_end() -> None:
    """Whole requests wait for their decoder, others are half sent, when the signal comes."""
    picture, half = CAT.read_bytes(), 2000
    request = HEAD % len(picture) + picture
    with running(queue=64, decode_seconds=60, answer_seconds=60) as server:
        alone = server.json("/predict", picture)["predictions"]
        for child in (children := server.decoders()):
            os.kill(child, signal.SIGSTOP)
        whole, halves = [server.socket() for _ in range(30)], [server.socket() for _ in range(10)]
        for connection in whole:
            connection.sendall(request)
        server.wait_for('snn_waiting{model="default"}', len(whole))
        for connection in halves:
            connection.sendall(request[:half])
        held = len(whole) * len(picture) + len(halves) * (half - len(HEAD % len(picture)))
        server.wait_for("snn_held_bytes", held)
        server.process.send_signal(signal.SIGTERM)
        server.until("draining")
        until_nobody_listens(server)
        for connection in halves:
            connection.sendall(request[half:])
        for child in children:
            os.kill(child, signal.SIGCONT)
        for connection in (*whole, *halves):
            with connection, connection.makefile("rb") as answer:
                head, _, body = answer.read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ") and b"connection: close" in head
            assert json.loads(body)["predictions"] == alone
        assert server.process.wait(PATIENCE) == 0


def until_nobody_listens(server: Running) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            server.socket().close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # in the moment itself
            continue
    raise AssertionError("it listens still")


def test_while_it_drains_it_is_not_ready_and_a_second_signal_ends_it() -> None:
    with running(grace_seconds=1000) as server:
        assert server.ask("/v2/health/ready")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        server.until("draining")
        status, headers, _ = server.ask("/v2/health/ready")
        assert (status, headers["connection"]) == (503, "close")
        assert server.ask("/predict", CAT.read_bytes())[0] == 200
        children = server.decoders()
        assert server.end() == 128 + signal.SIGTERM
        assert children and not any(Path(f"/proc/{child}/exe").exists() for child in children)


def test_models_are_read_again_and_a_bad_one_leaves_the_old(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copy(BUNDLED_FILE, tmp_path / f"{name}.onnx")
    with running("--models", tmp_path) as server:
        about = server.json("/v2/models")
        assert about["default"] == "one" and [m["name"] for m in about["models"]] == ["one", "two"]
        before = server.json("/predict?model=one", CAT.read_bytes())["predictions"]
        (tmp_path / "one.onnx").write_bytes(BUNDLED_FILE.read_bytes()[:-100])
        (tmp_path / "two.onnx").unlink()
        shutil.copy(BUNDLED_FILE, tmp_path / "three.onnx")
        with ThreadPoolExecutor(1) as pool:
            meanwhile = [pool.submit(server.ask, "/predict?model=one", CAT.read_bytes())]
            server.process.send_signal(signal.SIGHUP)
            server.until("model two is gone")
            assert meanwhile[0].result()[0] == 200
        assert any("model one stays as it was" in line for line in server.said)
        assert server.json("/predict?model=one", CAT.read_bytes())["predictions"] == before
        assert server.ask("/predict?model=two", CAT.read_bytes())[0] == 404
        assert server.ask("/predict?model=three", CAT.read_bytes())[0] == 200
        assert server.end() == 0


def test_the_last_sound_model_stays(tmp_path: Path) -> None:
    """A broken file under another name takes its place on the disk."""
    shutil.copy(BUNDLED_FILE, tmp_path / "one.onnx")
    with running("--models", tmp_path) as server:
        (tmp_path / "one.onnx").unlink()
        (tmp_path / "two.onnx").write_bytes(BUNDLED_FILE.read_bytes()[:-100])
        server.process.send_signal(signal.SIGHUP)
        server.until("model one stays, though its file is gone: it is the last one that is sound")
        assert server.ask("/v2/health/ready")[0] == 200
        assert server.ask("/predict", CAT.read_bytes())[0] == 200
        assert server.end() == 0


def test_a_model_is_rolled_out_and_back(tmp_path: Path) -> None:
    """Whatever lies there instead of a sound file, the network that answers stays; the old file,
    which was kept, is the way back."""
    place, kept = tmp_path / "model.onnx", tmp_path / "model.onnx.old"
    graph = example()
    files = {
        name: replace(graph, labels=tuple(f"{name} {n}" for n in range(len(graph.labels))))
        for name in ("first", "second", "lying")
    }
    write(files["first"], place)
    with running("--model", place) as server:

        def answers_after(sent: bytes | None, expected: str) -> str:
            """Put a file there in one step, send SIGHUP, wait for what is said, and ask."""
            if sent is None:
                place.unlink()
            else:
                (tmp_path / "model.onnx.new").write_bytes(sent)
                (tmp_path / "model.onnx.new").replace(place)
            server.said.clear()
            server.process.send_signal(signal.SIGHUP)
            server.until(expected)
            assert server.ask("/v2/health/ready")[0] == 200
            answer = server.json("/predict?top=1", CAT.read_bytes())
            return str(answer["predictions"][0]["label"].split()[0])

        shutil.copy(place, kept)
        (told,) = server.json("/v2/models")["models"]
        assert told["golden"] == read_file(place).golden
        assert answers_after(to_bytes(files["second"]), "reload: model default (") == "second"
        assert answers_after(kept.read_bytes()[:-40], "stays as it was") == "second"
        lying = to_bytes(files["lying"], golden="0" * 64)
        assert answers_after(lying, "stays as it was") == "second"
        assert "golden hash" in "".join(server.said)
        assert answers_after(None, "stays as it was") == "second"
        assert answers_after(kept.read_bytes(), "reload: model default (") == "first"
        assert server.end() == 0


@pytest.mark.parametrize(
    "moment",
    ["cli, 'parse_args'", "cli, 'run'", "models.Source, 'loaded'", "decoders.Decoders, 'start'"],
)
def test_sighup_while_it_starts_is_heeded_once_it_listens(moment: str) -> None:
    words = ("--port=0", "--threads=1", "--limit", "grace_seconds=0", "decoders=1")
    with started(words, main=HUNG_UP.format(moment)) as server:
        server.until("reload: model default (")
        assert server.ask("/predict", CAT.read_bytes())[0] == 200
        assert server.end() == 0
        assert sum("reload: " in line for line in server.rest()) == 1


@pytest.mark.parametrize("flag", ["--check", "--probe"])
def test_sighup_ends_what_starts_no_server(flag: str) -> None:
    for moment in ("cli, 'parse_args'", "cli, 'run'"):
        done = subprocess.run(
            [sys.executable, "-c", HUNG_UP.format(moment), flag, "--port=1"],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": PATHS},
        )
        assert (done.returncode, done.stderr) == (129, "snn-serve: stopped by signal 1\n")


def test_a_token_is_wanted_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    good = {"authorization": f"Bearer {TOKEN}"}
    with running("--token-file", tmp_path / "token") as server:
        for headers in ({}, {"authorization": TOKEN}, {"authorization": f"Bearer {TOKEN}x"},
                        {"authorization": "Bearer é"}):  # fmt: skip
            status, sent, text = server.ask("/predict", CAT.read_bytes(), headers)
            assert (status, sent["www-authenticate"]) == (401, "Bearer") and b"token" in text
            assert server.ask("/metrics", headers=headers)[0] == 401
        assert server.ask("/predict", CAT.read_bytes(), good)[0] == 200
        assert server.ask("/predict", CAT.read_bytes(), {**good, "host": "board.example"})[0] == 200
        assert server.ask("/v2/health/ready")[0] == 200
        assert server.end(signal.SIGINT) == 0 and "draining\n" in server.rest()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost"}, 200),
        ({"host": "127.0.0.1:80"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "attacker.example"}, 403),
        ({"host": "127.0.0.1.attacker.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost", "origin": "http://localhost"}, 200),
        ({"host": "localhost", "origin": "http://attacker.example"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
    ],
)
def test_pages_of_others_may_not_ask(server: Running, headers: dict[str, str], status: int) -> None:
    found, sent, _ = server.ask("/v2", headers=headers)
    assert found == status and "access-control-allow-origin" not in sent


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "Board.example:8443", "origin": "https://board.example:8443"}, 200),
        ({"host": "board.example", "origin": "https://board.example:8443"}, 200),
        ({"host": "127.0.0.1:8000", "origin": "http://board.example"}, 200),
        ({"host": "[2001:db8::1]:80", "origin": "http://[2001:db8::1]:80"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "attacker.example", "origin": "http://board.example"}, 403),
        ({"host": "board.example", "origin": "http://attacker.example"}, 403),
        ({"host": "board.example", "origin": "http://board.example.attacker.example"}, 403),
        ({"host": "board.example", "origin": "null"}, 403),
    ],
)
def test_names_of_a_proxy(headers: dict[str, str], status: int) -> None:
    hosts = parse_args(["--allowed-host", "BOARD.example", "2001:db8::1"]).allowed_host
    access = Access(None, frozenset(hosts))
    if status == 200:
        access.check("/v2", Headers(headers))
        return
    with pytest.raises(Refusal, match="--allowed-host") as caught:
        access.check("/v2", Headers(headers))
    assert caught.value.status == status


@pytest.mark.parametrize("name", ["http://board.example", "board.example:80", "*", "a b"])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(UsageError, match=r"is not a name or an address, such as board\.example"):
        parse_args(["--allowed-host", name])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*words.split(), "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)  # fmt: skip
    return certificate, key


def test_tls(pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    (tmp_path / "token").write_text(TOKEN)
    tls = ("--tls-cert", certificate, "--tls-key", key)
    with running("--host", "0.0.0.0", "--token-file", tmp_path / "token", *tls) as server:
        assert server.url.startswith("https://0.0.0.0:")
        context = ssl.create_default_context(cafile=str(certificate))
        request = urllib.request.Request(
            f"https://localhost:{server.port}/predict",
            CAT.read_bytes(),
            {"authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(request, context=context) as answer:
            assert answer.status == 200
        probe = ["--probe", "--port", str(server.port), "--tls-cert", str(certificate)]
        assert run(parse_args(probe)) == 0


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, key = pair
    locked = tmp_path / "locked.pem"
    words = f"openssl rsa -aes256 -passout pass:word -in {key} -out {locked}"
    subprocess.run(words.split(), check=True, capture_output=True)
    with pytest.raises(UsageError, match="key without a password"):
        run(parse_args(["--check", "--tls-cert", str(certificate), "--tls-key", str(locked)]))


def test_a_probe_of_what_is_ready_and_of_what_is_not(server: Running) -> None:
    assert run(parse_args(["--probe", "--port", str(server.port)])) == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SnnError) as refused:
            run(parse_args(["--check", "--port", port]))
        assert (refused.value.code, refused.value.exit_code) == ("cannot_listen", 7)
        assert refused.value.message.endswith(f"port {port}: Address already in use")
    with pytest.raises(SnnError) as refused:
        run(parse_args(["--probe", "--port", port]))
    assert (refused.value.code, refused.value.exit_code) == ("not_ready", 75)
    assert refused.value.message.endswith("ready: Connection refused")


def test_a_probe_of_what_speaks_no_http() -> None:
    """As SSH does, which says who it is before it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                connection.recv(1000)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(greet)
            with pytest.raises(SnnError) as refused:
                run(parse_args(["--probe", "--port", str(listener.getsockname()[1])]))
    assert (refused.value.code, refused.value.exit_code) == ("not_ready", 75)


def test_check_says_what_would_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(BUNDLED_FILE, tmp_path / "one.onnx")
    assert run(parse_args(["--check", "--port", "0", "--models", str(tmp_path)])) == 0
    said = capsys.readouterr().err
    assert "model one proved itself (event" in said and "would listen on http://127.0.0.1:0" in said


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ("--host 0.0.0.0", "usage", "--token-file"),
        ("--host 0.0.0.0 --token-file token", "usage", "--plain-http"),
        ("--host localhost", "usage", "IP address"),
        ("--plain-http", "usage", "--plain-http is for"),
        ("--tls-cert token", "usage", "--tls-key"),
        ("--tls-key token", "usage", "--tls-cert"),
        ("--tls-key token --tls-cert token", "bad_tls", "--tls-cert token, --tls-key token: expec"),
        ("--tls-key gone --tls-cert gone", "bad_tls", "No such file"),
        ("--trusted-proxy nginx", "usage", "'nginx' is not an IP address"),
        ("--allowed-host nginx:80", "usage", "'nginx:80' is not a name or an address"),
        ("--token-file missing", "bad_token", "no such file"),
        ("--token-file short", "bad_token", "at least 16"),
        ("--token-file words", "bad_token", "one word"),
        ("--limit queue", "bad_limit", "NAME=VALUE"),
        ("--model missing.onnx", "unreadable", "missing.onnx"),
        ("--models .", "no_models", "*.onnx"),
        ("--models odd", "bad_model_name", "Odd Name.onnx"),
        ("--models odd --model token", "usage", "exclude"),
        ("--probe --limit queue=99", "usage", "--probe starts none"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_before_anything_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: str, part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"token": TOKEN, "short": "abc", "words": f"{TOKEN} {TOKEN}"}.items():
        Path(name).write_text(text)
    Path("odd").mkdir()
    (Path("odd") / "Odd Name.onnx").touch()
    with pytest.raises(SnnError) as refused:
        run(parse_args(["--port", "0", *line.split()]))
    assert refused.value.code == code and part in str(refused.value)


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with Place("127.0.0.1", 0).opened() as listener:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
