"""`POST /predict`: the answers of snn-infer, whichever way the picture comes; refusals."""

import base64
import io
import json

import numpy as np
import pytest
from pages import run
from PIL import Image
from serving import CAT, PHOTOS, Running, running

import snn_runtime

BOUNDARY = "xYx"


def form(*files: bytes) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'.encode()
    )
    return b"".join(head + file + b"\r\n" for file in files) + f"--{BOUNDARY}--\r\n".encode()


MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("name", ["cat.jpg", "dog.jpg", "moose.jpg"])
def test_answers_are_those_of_snn_infer(server: Running, name: str) -> None:
    path = PHOTOS / name
    said = json.loads(run(f"snn-infer --format json --top-k 3 {path}").splitlines()[0])
    del said["path"]
    data = path.read_bytes()
    ways: list[tuple[bytes, dict[str, str]]] = [
        (data, {"content-type": "image/jpeg"}),
        (data, {}),
        (form(data), MULTIPART),
        (json.dumps({"image": base64.b64encode(data).decode()}).encode(), JSON),
    ]
    for body, headers in ways:
        answer = server.json("/predict?top=3", body, headers)
        assert answer.pop("seconds") > 0 and answer.pop("model") == "default"
        assert answer.pop("engine").startswith("event, ")
        assert answer == said


def test_spikes_are_those_of_the_model(server: Running) -> None:
    spikes = snn_runtime.load().spikes(CAT)
    layers = server.json("/predict?spikes=true", CAT.read_bytes())["layers"]
    assert [layer["name"] for layer in layers] == list(spikes)
    for layer, sent in zip(layers, spikes.values(), strict=True):
        assert layer["shape"] == list(sent.shape)
        bits = np.frombuffer(base64.b64decode(layer["bits"]), np.uint8)
        assert np.array_equal(np.unpackbits(bits)[: sent.size], sent.ravel() > 0)
        assert layer["rate"] == np.count_nonzero(sent) / sent.size
        rate = f'snn_spike_rate{{layer="{layer["name"]}",model="default"}}'
        assert server.metric(rate) == layer["rate"]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/predict", b"", {}, 422, "empty_file"),
        ("/predict", b"no picture", {}, 422, "not_an_image"),
        ("/predict", CAT.read_bytes()[:600], {}, 422, "truncated"),
        ("/predict", b"{", JSON, 400, "bad_request"),
        ("/predict", b"[" * 100_000, JSON, 400, "bad_request"),
        ("/predict", b'{"image": "%%"}', JSON, 400, "bad_request"),
        ("/predict", b'{"image": "", "path": "/etc/passwd"}', JSON, 400, "bad_request"),
        ("/predict", form(), MULTIPART, 400, "bad_request"),
        ("/predict", form(b"a", b"b"), MULTIPART, 400, "bad_request"),
        ("/predict", b"--x", {"content-type": "multipart/form-data"}, 400, "bad_request"),
        ("/predict", b"x", {"content-encoding": "gzip"}, 415, "encoding"),
        ("/predict?top=0", b"x", {}, 400, "bad_request"),
        ("/predict?top=1&top=2", b"x", {}, 400, "bad_request"),
        (f"/predict?top={'9' * 5000}", b"x", {}, 400, "bad_request"),
        ("/predict?spikes=1", b"x", {}, 400, "bad_request"),
        ("/predict?file=/etc/passwd", b"x", {}, 400, "bad_request"),
        ("/predict?model=..%2Fmodel", b"x", {}, 404, "no_such_model"),
        ("/predict", None, {}, 405, "http_405"),
        ("/%2e%2e/etc/passwd", None, {}, 404, "http_404"),
    ],
)
def test_refusals_name_nothing_of_ours(
    server: Running,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    found, sent, text = server.ask(path, body, headers)
    fields = json.loads(text)
    assert (found, fields["code"]) == (status, code), fields
    assert fields.keys() == {"error", "code", "request_id"}
    assert sent["x-request-id"] == fields["request_id"]
    assert sent.get("allow") == ("POST" if status == 405 else None)
    for inside in ("Traceback", "snn_", "site-packages", "/etc", str(PHOTOS.parent)):
        assert inside not in text.decode()


def test_a_picture_too_large_is_refused_by_its_size_alone() -> None:
    with running(max_bytes=1000, max_pixels=100) as server:
        assert server.ask("/predict", bytes(1001))[0] == 413
        assert server.ask("/predict", bytes(5_000_000))[0] == 413  # told, though it still sends
        with server.socket() as connection:
            connection.sendall(CHUNKED + b"3e8\r\n" + bytes(1000) + b"\r\n1\r\nx\r\n0\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        with server.socket() as connection:  # nothing of the body is waited for
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        buffer = io.BytesIO()
        Image.new("RGB", (11, 10)).save(buffer, "PNG")
        assert server.json("/predict", buffer.getvalue())["code"] == "too_many_pixels"


def test_zeros_before_a_length_say_nothing(server: Running) -> None:
    """However many: thousands are no number to Python."""
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    with server.socket() as connection:
        connection.sendall(head + b"0" * 5000 + b"1\r\n\r\nx")
        assert connection.recv(100).startswith(b"HTTP/1.1 422 ")


def test_a_request_id_is_echoed_where_it_is_one(server: Running) -> None:
    assert server.ask("/v2", headers={"x-request-id": "a-1"})[1]["x-request-id"] == "a-1"
    assert server.ask("/v2", headers={"x-request-id": "a b"})[1]["x-request-id"] != "a b"


def test_every_json_ends_its_line(server: Running) -> None:
    """Or the prompt of a shell would follow the answer to curl."""
    picture = {"name": "images", "datatype": "BYTES", "shape": [1]}
    infer = {"inputs": [{**picture, "data": [base64.b64encode(CAT.read_bytes()).decode()]}]}
    asked = {
        "/v2": None,
        "/predict": CAT.read_bytes(),
        "/predict?top=0": CAT.read_bytes(),
        "/v2/models/default/infer": json.dumps(infer).encode(),
        "/nothing": None,
    }
    for path, body in asked.items():
        _, headers, said = server.ask(path, body)
        assert said.endswith(b"}\n") and headers["content-length"] == str(len(said))
