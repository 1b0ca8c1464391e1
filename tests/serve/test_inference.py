"""The Open Inference Protocol, asked by its public client."""

import base64
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from familiar import known
from serving import PHOTOS, Running, running

import snn_runtime
from snn_runtime.model import Model
from snn_runtime.model_file import write
from snn_serve.bodies import NESTED
from snn_serve.inference import read
from snn_serve.limits import Limits
from snn_serve.refusal import Refusal

OUTPUTS = ("logits", "probabilities", "labels", "unsure", "unfamiliar")
MOST = Limits().queue
NAMES = ("cat.jpg", "dog.jpg", "moose.jpg")


@pytest.fixture(scope="module")
def model() -> Model:
    return snn_runtime.load(threads=1)


@pytest.fixture
def client(server: Running) -> Any:
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def images(model: Model) -> Any:
    return np.stack([model.prepare(PHOTOS / name)[0] for name in NAMES])


def test_what_there_is(client: Any, model: Model) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("default") and client.is_model_ready("default", "1")
    assert not client.is_model_ready("other") and not client.is_model_ready("default", "2")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    about = client.get_model_metadata("default")
    assert about["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert [each["name"] for each in about["outputs"]] == list(OUTPUTS)


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
@pytest.mark.parametrize("encoded", [True, False])
def test_every_way_gives_the_same_bits(
    client: Any, model: Model, binary_input: bool, binary_output: bool, encoded: bool
) -> None:
    pictures = [(PHOTOS / name).read_bytes() for name in NAMES]
    if encoded:
        elements = pictures if binary_input else [base64.b64encode(each) for each in pictures]
        value: Any = np.array(elements, object)
    else:
        value = images(model)
    given = triton.InferInput("images", value.shape, "BYTES" if encoded else "UINT8")
    given.set_data_from_numpy(value, binary_data=binary_input)
    asked = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in OUTPUTS]
    answer = client.infer("default", [given], outputs=asked, request_id="seven")
    assert answer.get_response()["id"] == "seven"
    assert np.array_equal(answer.as_numpy("logits"), model.logits(images(model)))
    answers = model.classify([PHOTOS / name for name in NAMES])
    labels = [label.decode() if binary_output else label for label in answer.as_numpy("labels")]
    assert labels == [each.label for each in answers]
    for name in ("unsure", "unfamiliar"):
        assert answer.as_numpy(name).tolist() == [getattr(each, name) for each in answers]
    for row, each in zip(answer.as_numpy("probabilities"), answers, strict=True):
        assert all(row[p.index] == p.probability for p in each.predictions)


def test_all_outputs_where_none_is_named(client: Any, model: Model) -> None:
    given = triton.InferInput("images", [1, 32, 32, 3], "UINT8")
    given.set_data_from_numpy(images(model)[:1])
    answer = client.infer("default", [given])
    assert {each["name"] for each in answer.get_response()["outputs"]} == set(OUTPUTS)


def test_of_a_calibrated_file(tmp_path: Path, model: Model) -> None:
    """What the file knows of its pictures is told of tensors too, of more than one batch."""
    path = tmp_path / "known.onnx"
    noise = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    write(known(model, images(model)), path)
    batch = np.concatenate([images(model), noise])
    given = triton.InferInput("images", list(batch.shape), "UINT8")
    given.set_data_from_numpy(batch)
    with running("--model", path) as server:
        client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
        answer = client.infer("default", [given])
        client.close()
    answers = snn_runtime.load(path, threads=1).classify(list(batch))
    far = [each.unfamiliar for each in answers]
    assert far[:3] == [False] * 3 and any(far)
    assert answer.as_numpy("unfamiliar").tolist() == far
    assert answer.as_numpy("unsure").tolist() == [each.unsure for each in answers]
    most = answer.as_numpy("probabilities").max(1).tolist()
    assert most == [each.probability for each in answers]


def body(**changed: Any) -> bytes:
    given = {"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0] * 3072}
    return json.dumps({"inputs": [{**given, **changed}]}).encode()


@pytest.mark.parametrize(
    ("sent", "length"),
    [
        (b"", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"inputs": [1]}', None),
        (b'{"inputs": [], "parameters": 1}', None),
        (body(name="input"), None),
        (body(shape=[1, 32, 32]), None),
        (body(shape=[-1, 32, 32, 3]), None),
        (body(shape=[True, 32, 32, 3]), None),
        (body(shape=[2**40, 32, 32, 3]), None),
        (body(datatype="FP32"), None),
        (body(data=[256] * 3072), None),
        (body(data=[-1] * 3072), None),
        (body(data=[0.5] * 3072), None),
        (body(data=[0] * 3071), None),
        (body(data=[[0, 1], [0]]), None),
        (body(data="abc"), None),
        (body(data=["a"] * 3072), None),
        (body(data=[True] * 3072), None),
        (body(data=[True] + [0] * 3071), None),
        (body(data=[None] * 3072), None),
        (body(data=[{}] * 3072), None),
        (body(data=[2**64] * 3072), None),
        (body(data=[[0] * 3072, [0]]), None),
        (body(data=[[0] * 3071, 0]), None),
        (body(data=[[0] * 3072, {}]), None),
        (body(data=[]), None),
        (body(data=[[]] * 3072), None),
        (body(parameters={"binary_data_size": 5}), None),
        (body(parameters={"binary_data_size": "5"}), None),
        (body(parameters=[]), None),
        (body(datatype="BYTES", shape=[1], data=[5]), None),
        (body(datatype="BYTES", shape=[2], data=["aa=="]), None),
        (body(), "100000"),
        (body(), "-1"),
        (body(), "9" * 5000),
        (body(shape=[10**4299, 32, 32, 3]), None),
        (b'{"inputs": ' + b"9" * 5000 + b"}", None),
        (body() + b"rest", str(len(body()))),
        (body(datatype="BYTES", shape=[1], parameters={"binary_data_size": 5}) + b"\xff\0\0\0a",
         str(len(body(datatype="BYTES", shape=[1], parameters={"binary_data_size": 5})))),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused(server: Running, sent: bytes, length: str | None) -> None:
    headers = {} if length is None else {"inference-header-content-length": length}
    status, _, text = server.ask("/v2/models/default/infer", sent, headers)
    assert status == 400 and json.loads(text)["code"] == "bad_request"


def test_numbers_are_nested_as_the_shape_or_flat_or_otherwise(model: Model) -> None:
    """But evenly, in their order."""
    pictures = images(model)
    ways = (pictures, pictures.ravel(), pictures.reshape(3, -1), pictures[:, np.newaxis])
    for way in ways:
        sent = body(shape=[3, 32, 32, 3], data=way.tolist())
        asked = read(sent, None, model.graph.image, MOST).images
        assert asked is not None and asked.dtype == np.uint8 and np.array_equal(asked, pictures)


@pytest.mark.parametrize(
    "data",
    [
        ["x" * 20_000] + [""] * 2_000,
        ["x" * 20_000] + [""] * 3_071,
        [["x" * 20_000]] + [[""]] * 3_071,
        [0.5] * 3_071 + [10**4000],
        [[0] * 3_072] * 100,
        json.loads("[" * 500 + "]" * 500),
    ],
)
def test_a_small_body_takes_little_memory(model: Model, data: list[Any]) -> None:
    """Whatever it holds instead of numbers."""
    sent = body(data=data)
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="expected 3072 whole numbers"):
            read(sent, None, model.graph.image, MOST)
        assert tracemalloc.get_traced_memory()[1] < 2**20 + 10 * len(sent)
    finally:
        tracemalloc.stop()


DEEP = "[" * 400 + "]" * 400


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x", ",".join([DEEP] * 4)),
        ("," * 5000, ",".join([DEEP] * 4)),
        ('\\",' * 5000 + "\\\\", ",".join([DEEP] * 4)),
        ("x", ",".join(["[]"] * (NESTED + MOST * 3072))),
        ("x", ",".join(["{}"] * (NESTED + MOST * 3072))),
        ("x", ",".join(['{"":[]}'] * (NESTED + 1))),
    ],
)
def test_more_lists_than_are_needed_are_refused_unread(
    model: Model, monkeypatch: pytest.MonkeyPatch, name: str, data: str
) -> None:
    """Sixteen megabytes of them would hold up all requests for seconds."""
    sent = f'{{"id": "{name}", "inputs": [{{"data": [{data}]}}]}}'.encode()
    assert json.loads(sent)
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(Refusal, match="too many lists"):
        read(sent, None, model.graph.image, MOST)


@pytest.mark.parametrize("end", ["", '\\"', "\\\\", '\\\\\\"'])
def test_what_is_in_a_text_is_no_list(model: Model, end: str) -> None:
    text = "[{" * 5 * NESTED + end
    sent = body().replace(b'{"inputs"', f'{{"id": "{text}", "inputs"'.encode())
    assert read(sent, None, model.graph.image, MOST).id == json.loads(f'"{text}"')


def test_as_many_lists_as_a_full_queue_needs(model: Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (MOST, 32, 32, 3), np.uint8)
    for way in (pictures, pictures.reshape(-1, 3), pictures.reshape(-1, 1)):
        sent = body(shape=list(pictures.shape), data=way.tolist())
        assert np.array_equal(read(sent, None, model.graph.image, MOST).images, pictures)  # type: ignore[arg-type]


def test_elements_are_counted_before_they_are_read(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen megabytes of empty ones would hold up all requests for a second."""
    monkeypatch.setattr("snn_serve.inference.from_base64", None)
    with pytest.raises(Refusal, match="3 elements came, shape says 2"):
        read(body(datatype="BYTES", shape=[2], data=[""] * 3), None, model.graph.image, MOST)
    for count, binary, said in (
        (2, bytes(8) + b"\xff" * 4, "more elements came, shape says 2"),  # which are not looked at
        (2, bytes(12), "more elements came, shape says 2"),
        (4, bytes(12), "12 bytes are no 4 elements"),
        (2, bytes(4) + b"\5\0\0\0abcd", "longer than the body"),
        (2, b"\5\0\0\0abcde", "longer than the body"),
    ):
        size = {"binary_data_size": len(binary)}
        head = body(datatype="BYTES", shape=[count], data=None, parameters=size)
        with pytest.raises(Refusal, match=said):
            read(head + binary, str(len(head)), model.graph.image, MOST)


def test_a_picture_among_others_that_is_none(server: Running) -> None:
    sent = body(datatype="BYTES", shape=[1], data=["aaaa"])
    assert server.ask("/v2/models/default/infer", sent)[0] == 422
    assert server.ask("/v2/models/other/infer", sent)[0] == 404
    assert server.ask("/v2/models/default/versions/2/infer", sent)[0] == 404


def test_more_images_than_may_wait(server: Running) -> None:
    many = body(shape=[65, 32, 32, 3], data=[0] * (65 * 3072))
    assert server.ask("/v2/models/default/infer", many)[0] == 413
