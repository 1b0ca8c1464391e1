"""Why a picture got its label: occlusion against a loop, and pages for odd networks."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from graphs import example
from infer_command import Command
from PIL import Image

from snn_runtime.answer import answers_of
from snn_runtime.infer.explaining import occlusion
from snn_runtime.infer.sheet import WIDTH, Explained, chosen, drawn, overlaid
from snn_runtime.model import Model, load
from snn_runtime.model_file import write


@pytest.fixture
def small(tmp_path: Path) -> Model:
    write(example(), tmp_path / "m.onnx")
    return load(tmp_path / "m.onnx", threads=1)


def test_occlusion_is_the_mean_loss_of_log_odds(small: Model) -> None:
    """Square by square and pixel by pixel, from ln p / (1 − p) = z − ln Σ e^others."""
    image = small.graph.image
    pixels = np.random.default_rng(0).integers(0, 256, (image.height, image.width, 3), np.uint8)

    def odds(one: npt.NDArray[np.uint8]) -> float:
        z = small.logits(one[None])[0].astype(float)
        return float(z[1] - np.log(sum(np.exp(other) for other in np.delete(z, 1))))

    losses: dict[tuple[int, int], list[float]] = {}
    for top in range(-1, image.height):
        for left in range(-1, image.width):
            covered = pixels.copy()
            inside = [
                (y, x)
                for y in (top, top + 1)
                for x in (left, left + 1)
                if 0 <= y < image.height and 0 <= x < image.width
            ]
            for y, x in inside:
                covered[y, x] = np.rint(image.offset)
            for place in inside:
                losses.setdefault(place, []).append(odds(pixels) - odds(covered))
    found = occlusion(small, pixels, 1, 2)
    for (y, x), each in losses.items():
        assert found[y, x] == pytest.approx(np.mean(each), abs=1e-9)


def test_a_page_for_each_picture(tmp_path: Path, snn_infer: Command) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.new("L", (90, 20), 99).save(tmp_path / folder / "grey wide.png")
    outcome = snn_infer("--explain", tmp_path / "why", tmp_path / "one", tmp_path / "two")
    assert outcome.code == 0
    pages = sorted((tmp_path / "why").iterdir())
    assert [page.name for page in pages] == ["grey-wide-2.png", "grey-wide.png"]
    for page in pages:
        with Image.open(page) as opened:
            assert opened.format == "PNG" and opened.width == WIDTH


def test_nothing_is_overwritten(tmp_path: Path, snn_infer: Command) -> None:
    photo = tmp_path / "a.png"
    Image.new("L", (90, 20), 99).save(photo)
    before = photo.read_bytes()
    for page in (tmp_path / "a-2.png", tmp_path / "a-3.png"):
        assert snn_infer("--explain", tmp_path, photo).code == 0 and page.exists()
    assert photo.read_bytes() == before
    assert snn_infer("--explain", tmp_path / "a-2.png", photo).code == 0  # the one that is named
    assert len(list(tmp_path.iterdir())) == 3
    outcome = snn_infer("--explain", tmp_path, tmp_path)
    assert outcome.code == 2 and "--explain leads into a folder that is read" in outcome.err


@pytest.mark.parametrize("shapes", [[(4, 6, 9), (7,)], [(5,)], [(3, 2, 2)] * 12])
@pytest.mark.parametrize("fires", [0, 1])
def test_a_page_is_drawn_of_any_network(shapes: list[tuple[int, ...]], fires: int) -> None:
    """Dead layers, dense layers alone, many layers, a picture that is wide."""
    (answer,) = answers_of(np.array([[2, 1, 0]], np.float32), ("cat " * 60, "b", "c"))
    page = Explained(
        name="a" * 300,
        pixels=np.zeros((8, 40, 3), np.uint8),
        answer=answer,
        spikes={f"n{i}": np.full(shape, fires, np.uint8) for i, shape in enumerate(shapes)},
        usual={"n0": 0.5},
        square=5,
        leaned_on=np.zeros((8, 40)),
    )
    with Image.open(io.BytesIO(drawn(page))) as opened:
        pixels = np.asarray(opened)
    assert (pixels[:, -10:] == 255).all() and (pixels < 99).any()


def test_layers_are_spread() -> None:
    assert chosen(list("abc")) == list("abc")
    assert chosen([str(i) for i in range(21)]) == ["0", "5", "10", "15", "20"]
    assert chosen([]) == []


def test_red_is_where_the_label_loses() -> None:
    shown = np.asarray(overlaid(np.full((1, 3, 3), 99, np.uint8), np.array([[1.0, 0, -1.0]])))
    red, none, blue = shown[0].astype(int)
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0] and len(set(none.tolist())) == 1
