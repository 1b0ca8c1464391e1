"""Answers of a label are posted, whichever way they were asked for, and keep nobody waiting."""

import asyncio
import base64
import json
import signal
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from familiar import known
from graphs import example
from post_server import receiving
from serving import CAT, PHOTOS, Running, running

import snn_runtime
from snn_runtime.condition import Condition
from snn_runtime.model_file import write
from snn_serve.hook import Subscription
from snn_serve.limits import Limits
from snn_serve.metrics import Metrics
from snn_serve.models import Models, Source


def asked(server: Running, *names: str) -> list[bytes]:
    return [server.ask("/predict?top=1", (PHOTOS / name).read_bytes())[2] for name in names]


def test_a_label_is_posted_and_a_slow_receiver_is_not_waited_for() -> None:
    go_on = threading.Event()
    with (
        receiving(lambda: 204 if go_on.wait(60) else 500) as receiver,
        running("--on-label", "cat>0.5", "--post", receiver.url) as server,
    ):
        answer, *_ = map(json.loads, asked(server, "cat.jpg", "dog.jpg"))
        (post,) = receiver.wait_for(1)  # and it hangs, while all others are answered
        del answer["engine"], answer["seconds"]
        assert post == answer
        picture = base64.b64encode(CAT.read_bytes()).decode()
        given = {"name": "images", "datatype": "BYTES", "shape": [2], "data": [picture] * 2}
        sent = json.dumps({"inputs": [given]}).encode()
        assert server.ask("/v2/models/default/infer", sent)[0] == 200
        go_on.set()
        assert {each["predictions"][0]["label"] for each in receiver.wait_for(3)} == {"cat"}
        server.wait_for('snn_posts_total{outcome="posted"}', 3)
        go_on.clear()
        asked(server, "cat.jpg")  # it is on its way when the server ends
        receiver.wait_for(4)
        go_on.set()
        assert server.end() == 0 and not any("--post" in line for line in server.said)


@pytest.mark.parametrize("within", [1.0, 0.5])
def test_what_is_unfamiliar_is_not_posted(within: float, tmp_path: Path) -> None:
    """Nor where the request asks for labels only."""
    model = snn_runtime.load(threads=1)
    images = np.stack([model.prepare(CAT)[0], model.prepare(PHOTOS / "dog.jpg")[0]])
    write(known(model, images, within), tmp_path / "m.onnx")
    given = {
        "name": "images",
        "datatype": "UINT8",
        "shape": [1, *images[0].shape],
        "data": images[0].ravel().tolist(),
    }
    sent = json.dumps({"inputs": [given], "outputs": [{"name": "labels"}]}).encode()
    flags = ("--on-label", "cat>0", "--post")
    with (
        receiving(lambda: 204) as receiver,
        running("--model", tmp_path / "m.onnx", *flags, receiver.url) as server,
    ):
        assert server.json("/v2/models/default/infer", sent)["outputs"][0]["data"] == ["cat"]
        assert server.end() == 0  # when all posts have arrived
        assert len(receiver.posts) == (within == 1)


URL = "http://127.0.0.1:9/"


def put(first_labels: dict[str, str], folder: Path) -> None:
    """Have the models of a folder be these, each of which has another first label."""
    for path in folder.glob("*.onnx"):
        path.unlink()
    graph = example()
    for name, label in first_labels.items():
        write(replace(graph, labels=(label, *graph.labels[1:])), folder / f"{name}.onnx")


def test_a_model_without_the_label_leaves_the_old_one(tmp_path: Path) -> None:
    put({"m": "cat"}, tmp_path)
    flags = ("--on-label", "cat", "--post", URL)
    with running("--model", tmp_path / "m.onnx", *flags) as server:
        for label, said in (
            ("dog", "stays as it was: --on-label: the model has no label 'cat'"),
            ("cat", "(event, "),
        ):
            put({"m": label}, tmp_path)
            server.said.clear()
            server.process.send_signal(signal.SIGHUP)
            server.until("reload: ")
            assert server.said[-1].startswith(f"reload: model default {said}")
            (model,) = server.json("/v2/models")["models"]
            assert model["labels"][0] == "cat"
        assert server.end() == 0


@pytest.mark.parametrize(
    ("before", "put_there", "after"),
    [
        ("one:cat", "one:dog", "one:cat"),
        ("one:cat two:dog", "one:dog two:dog", "one:cat two:dog"),
        ("one:cat two:dog", "one:dog two:cat", "one:dog two:cat"),
        ("one:dog two:cat", "one:cat two:dog", "one:cat two:dog"),
        ("one:cat two:cat", "one:dog two:cat", "one:dog two:cat"),
        ("one:cat two:cat", "one:dog two:dog", "one:dog two:cat"),
        ("one:cat two:dog", "two:fox", "one:cat two:dog"),
        ("one:cat two:dog", "two:cat", "two:cat"),
        ("one:cat two:dog", "one:cat two:fox three:dog", "one:cat two:fox three:dog"),
        ("one:cat", "two:dog", "one:cat"),
    ],
)
def test_one_of_several_models_keeps_the_label(
    before: str, put_there: str, after: str, tmp_path: Path
) -> None:
    """As at the start. Where others have it, a model may lose it."""

    def read(text: str) -> dict[str, str]:
        return dict(each.split(":") for each in text.split())

    async def reloaded() -> dict[str, str]:
        source = Source(folder=tmp_path, backend="event", threads=1)
        models = Models(source, Limits(), Metrics(), Subscription(Condition("cat"), URL))
        models.add((name, source.loaded(path)) for name, path in source.found().items())
        put(read(put_there), tmp_path)
        await models.reload()
        found = {batcher.name: batcher.model.labels[0] for batcher in models}
        await models.close()
        return found

    put(read(before), tmp_path)
    assert asyncio.run(reloaded()) == read(after)
