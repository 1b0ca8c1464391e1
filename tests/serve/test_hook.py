"""Answers of a label are posted, whichever way they were asked for, and keep nobody waiting."""

import base64
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from familiar import known
from post_server import receiving
from serving import CAT, PHOTOS, Running, running

import snn_runtime
from snn_runtime.model_file import write


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
    wish = ("--on-label", "cat>0", "--post")
    with (
        receiving(lambda: 204) as receiver,
        running("--model", tmp_path / "m.onnx", *wish, receiver.url) as server,
    ):
        assert server.json("/v2/models/default/infer", sent)["outputs"][0]["data"] == ["cat"]
        assert server.end() == 0  # when all posts have arrived
        assert len(receiver.posts) == (within == 1)
