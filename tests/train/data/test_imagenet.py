"""ImageNet's layout, sizes and networks, on a handful of pictures decoded while training."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from bad_inputs.pictures import encoded, exif, picture
from PIL import Image, ImageOps
from same import assert_same
from torch import Tensor
from train.tiny import unless

from snn_export import cli as export_cli
from snn_runtime import image
from snn_runtime.errors import InputError
from snn_runtime.image import Fit
from snn_train import checkpoint, report
from snn_train.batches import ahead
from snn_train.data import DataSet, load
from snn_train.data.augment import augment
from snn_train.data.augmentation import Augmentation, Draws
from snn_train.data.normalisation import Normalisation
from snn_train.data.on_disk import OnDisk
from snn_train.data.window import TRIES, window
from snn_train.defaults import default_recipe
from snn_train.experiment import digest
from snn_train.optimiser import method
from snn_train.schedule import peak
from snn_train.stage import Stage

if TYPE_CHECKING:
    from train.conftest import Answer

Command = Callable[..., "Answer"]
Pixels = npt.NDArray[np.uint8]
CLASSES = ("n01440764", "n01443537")
RESIZED = Augmentation(flip=True, resized=True)
TINY = ("--width", "0.05", "--batch-size", "9", "--timesteps", "1", "--epochs", "1",
        "--percentile", "60", "--largest-drop", "1", "--threads", "1")  # fmt: skip


@cache
def files_of(part: str, label: int) -> dict[str, bytes]:
    """Ten pictures to train on or three to validate with: of many sizes, modes and formats."""
    turn = 40 * label + (part == "val")
    files = {
        "large.JPEG": encoded(picture(400, 500).rotate(turn), "JPEG"),
        "upright.JPEG": encoded(picture(40, 90).rotate(turn), "JPEG", exif=exif(6)),
        "inks.JPEG": encoded(picture(70, 50).rotate(turn).convert("CMYK"), "JPEG"),
        "grey.JPEG": encoded(picture(64, 80).rotate(turn).convert("L"), "JPEG"),
        "really_png.JPEG": encoded(picture(33, 47).rotate(turn), "PNG"),
        "palette.png": encoded(picture(50, 50).rotate(turn).convert("P"), "PNG"),
        "wide.JPEG": encoded(picture(20, 130).rotate(turn % 9), "JPEG"),
        "high.JPEG": encoded(picture(130, 20).rotate(turn % 9), "JPEG"),
        "exact.png": encoded(picture(32, 32).rotate(turn), "PNG"),
        "small.JPEG": encoded(picture(9, 12).rotate(turn), "JPEG"),
    }
    return files if part == "train" else dict(list(files.items())[:3])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("train", "val"):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "imagenet" / part / name
            folder.mkdir(parents=True)
            for file, content in files_of(part, label).items():
                (folder / file).write_bytes(content)
    return tmp_path / "imagenet"


def quiet(items: Iterable[Path], title: str, total: int) -> Iterable[Path]:
    return items


def read(root: Path, size: tuple[int, int] | None = (32, 32), fit: Fit = "crop") -> DataSet:
    return load(f"imagenet:{root}", quiet, size, fit)


def pictures(data: DataSet) -> OnDisk:
    assert isinstance(data.train_images, OnDisk)
    return data.train_images


def paths(root: Path, part: str) -> list[Path]:
    return [path for name in CLASSES for path in sorted((root / part / name).iterdir())]


# What is read


def test_labels_are_the_folders_and_nothing_is_decoded_before_it_is_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "decode", None)
    (root / "train" / CLASSES[0] / ".hidden").write_bytes(b"")
    (root / "train" / CLASSES[0] / "folder").mkdir()
    data = read(root, None)
    assert data.labels == CLASSES and data.on_disk
    assert data.train_labels.tolist() == [0] * 10 + [1] * 10
    assert data.test_labels.tolist() == [0] * 3 + [1] * 3
    assert data.train_images.shape == (20, 224, 224, 3) and data.test_images.shape[0] == 6
    assert default_recipe("iir-bn", data.name).augmentation == RESIZED
    assert data.normalisation() == Normalisation((124, 116, 104), (58.395, 57.12, 57.375))


@pytest.mark.parametrize(
    ("size", "fit"), [((32, 32), "crop"), ((40, 24), "crop"), ((24, 56), "stretch")]
)
def test_plain_pictures_are_those_of_snn_infer(root: Path, size: tuple[int, int], fit: Fit) -> None:
    data = read(root, size, fit)
    for part, images in (("train", data.train_images), ("val", data.test_images)):
        expected = np.stack([image.prepare(path, *size, fit)[0] for path in paths(root, part)])
        assert np.array_equal(images[:].numpy(), expected)
        assert np.array_equal(images[1::2].numpy(), expected[1::2])
        assert np.array_equal(images[torch.tensor([3, 0, 3])].numpy(), expected[[3, 0, 3]])
        assert images[:0].shape == (0, *size, 3)


def test_a_subset_is_the_same_pictures_under_new_numbers(root: Path) -> None:
    images = pictures(read(root))
    some = images.subset(torch.tensor([17, 2, 5, 4])).subset(torch.tensor([3, 0]))
    assert some.shape == (2, 32, 32, 3) and len(some) == 2
    assert torch.equal(some[:], images[torch.tensor([4, 17])])


# Random windows


def window_of_torchvision(
    size: tuple[int, int], numbers: npt.NDArray[np.float64]
) -> tuple[int, int, int, int]:
    """As in its RandomResizedCrop.get_params, with the random numbers given."""
    width, height = size
    for share, bend, down, across in numbers:
        area = width * height * (0.08 + share * (1.0 - 0.08))
        low, high = math.log(3 / 4), math.log(4 / 3)
        aspect = math.exp(low + bend * (high - low))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(across * (width - w + 1)), int(down * (height - h + 1))
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@pytest.mark.parametrize("size", [(500, 375), (9, 12), (130, 20), (20, 130), (8, 1600), (64, 64)])
def test_a_window_is_that_of_torchvision(size: tuple[int, int]) -> None:
    width, height = size
    draws = Draws.of(RESIZED, 500, torch.Generator().manual_seed(1))
    found = set()
    for tries in draws.windows.permute(2, 0, 1).numpy():
        left, top, right, bottom = box = window(size, (224, 224), tries)
        assert box == window_of_torchvision(size, tries)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        found.add(box)
    assert len(found) > 10 or size == (8, 1600)  # from which no window can be cut but the middle


def test_windows_of_other_shapes_are_distorted_no_more() -> None:
    draws = Draws.of(RESIZED, 300, torch.Generator().manual_seed(1))
    boxes = [window((4000, 4000), (100, 200), t) for t in draws.windows.permute(2, 0, 1).numpy()]
    aspects = [(right - left) / (bottom - top) / 2 for left, top, right, bottom in boxes]
    assert 0.74 < min(aspects) < 0.8 and 1.25 < max(aspects) < 1.34
    shares = [(r - left) * (b - top) / 4000**2 for left, top, r, b in boxes]
    assert 0.079 < min(shares) < 0.12


def test_random_numbers_are_those_from_before_there_were_windows() -> None:
    for settings in (Augmentation(True, 2, 3), Augmentation(True, 2, 3, resized=True)):
        draws = Draws.of(settings, 7, torch.Generator().manual_seed(5))
        same = torch.Generator().manual_seed(5)
        assert torch.equal(draws.shift, torch.randint(0, 5, (2, 7), generator=same))
        assert torch.equal(draws.mirrored, torch.rand(7, generator=same) < 0.5)
        assert torch.equal(draws.corner, torch.rand(2, 7, generator=same))
        assert draws.windows.shape == (TRIES * settings.resized, 4, 7)
        some = draws.part(slice(2, 5))
        assert torch.equal(some.windows, draws.windows[:, :, 2:5])


def reference(path: Path, tries: npt.NDArray[np.float64], mirrored: bool) -> Pixels:
    """One picture, opened by Pillow itself, cut, resized, mirrored."""
    with Image.open(path) as opened:
        opened.draft(None, (64, 64))
        whole = ImageOps.exif_transpose(opened).convert("RGB")
    left, top, right, bottom = window_of_torchvision(whole.size, tries)
    part = Image.fromarray(np.asarray(whole)[top:bottom, left:right])
    if part.size != (32, 32):
        part = part.resize((32, 32), Image.Resampling.BILINEAR)
    pixels = np.asarray(part)
    return pixels[:, ::-1] if mirrored else pixels


def test_augmented_pictures_are_those_of_a_slow_reference(root: Path) -> None:
    images, files = pictures(read(root)), paths(root, "train")
    for seed in range(5):
        index = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
        draws = Draws.of(RESIZED, 20, torch.Generator().manual_seed(seed))
        ((pixels, same),) = ahead(images, [(index, draws)])
        result = augment(pixels, RESIZED, (0, 0, 0), same).numpy()
        for row, number in enumerate(index.tolist()):
            tries = draws.windows[:, :, row].numpy()
            expected = reference(files[number], tries, bool(draws.mirrored[row]))
            assert np.array_equal(result[row], expected), files[number]


# One batch ahead


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def batches(
    images: Tensor | OnDisk, augmentation: Augmentation = RESIZED
) -> list[tuple[Tensor, Draws]]:
    return list(ahead(images, wanted(augmentation)))


def wanted(augmentation: Augmentation = RESIZED) -> Iterator[tuple[Tensor, Draws]]:
    for step in range(6):
        order = torch.randperm(20, generator=torch.Generator().manual_seed(step))
        yield order[:7], Draws.of(augmentation, 7, torch.Generator().manual_seed(step))


def test_reading_ahead_changes_no_pixel_and_neither_do_threads(
    root: Path, threads: Callable[[int], None]
) -> None:
    images = pictures(read(root))
    expected = [images.finish(images.begin(index, draws)) for index, draws in wanted()]
    for count in (1, 2, 5):
        threads(count)
        found = batches(images)
        assert len(found) == 6
        for (pixels, draws), alone, (_, same) in zip(found, expected, wanted(), strict=True):
            assert torch.equal(pixels, alone) and torch.equal(draws.windows, same.windows)


def test_without_windows_pictures_on_disk_are_those_in_memory(root: Path) -> None:
    images, plain = pictures(read(root)), Augmentation(flip=True, shift=2)
    for (found, _), (expected, _) in zip(
        batches(images, plain), batches(images[:], plain), strict=True
    ):
        assert torch.equal(found, expected)


def test_the_next_batch_is_begun_before_a_batch_is_handed_out(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, begun, begin = pictures(read(root)), [], OnDisk.begin

    def spy(self: OnDisk, index: Tensor, draws: Draws) -> Any:
        begun.append(index)
        return begin(self, index, draws)

    monkeypatch.setattr(OnDisk, "begin", spy)
    counts = [len(begun) for _ in ahead(images, wanted())]
    assert counts == [2, 3, 4, 5, 6, 6]
    begun.clear()
    some = ahead(images, wanted())
    next(some)
    some.close()  # type: ignore[attr-defined]  # it is a generator
    assert len(begun) == 2


# What is refused


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda root: (root / "train").rename(root / "trian"), ("train", "no such folder")),
        (lambda root: (root / "val").rename(root / "vale"), ("val", "no such folder")),
        (
            lambda root: (root / "val" / CLASSES[1]).rename(root / "x"),
            ("val", "has 1 class folders"),
        ),
        (
            lambda root: (root / "train" / "n3").mkdir(),
            ("train and val have different classes: n3",),
        ),
        (
            lambda root: [path.unlink() for path in (root / "val" / CLASSES[1]).iterdir()],
            (f"val/{CLASSES[1]}", "is empty"),
        ),
        (
            lambda root: [path.unlink() for path in (root / "train" / CLASSES[0]).iterdir()],
            (f"train/{CLASSES[0]}", "is empty"),
        ),
        (
            lambda root: (root / "val" / CLASSES[0] / "a.JPEG").write_bytes(b""),
            (f"val/{CLASSES[0]}/a.JPEG: has 0 bytes, expected 1 to",),
        ),
        (
            lambda root: os.truncate(root / "train" / CLASSES[0] / "grey.JPEG", 2**26 + 1),
            ("grey.JPEG: has 67,108,865 bytes",),
        ),
        (
            lambda root: (root / "train" / CLASSES[0] / "grey.JPEG").unlink(),
            ("19 training images for 2 classes",),
        ),
    ],
)
def test_what_is_wrong_with_names_and_sizes_is_refused_before_training(
    root: Path, spoil: Callable[[Path], Any], names: tuple[str, ...]
) -> None:
    spoil(root)
    with pytest.raises(InputError) as caught:
        read(root)
    assert caught.value.code == "bad_data"
    for part in names:
        assert part in caught.value.message


def test_random_windows_are_refused_where_pictures_lie_in_memory(
    train_snn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = train_snn("--data", "digits", "--augment", "flip,resized")
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert "--augment flip,resized: resized is for imagenet:DIR" in answer.err


def test_the_digest_is_of_names_and_labels(root: Path) -> None:
    before = digest(read(root))
    file = root / "train" / CLASSES[0] / "grey.JPEG"
    file.write_bytes(file.read_bytes()[:-40])
    assert digest(read(root)) == before  # it can be repaired while a run waits
    assert digest(read(root, (24, 32))) != before
    file.rename(file.with_name("gray.JPEG"))
    assert digest(read(root)) != before
    file.with_name("gray.JPEG").rename(root / "train" / CLASSES[1] / "grey2.JPEG")
    (root / "train" / CLASSES[1] / "wide.JPEG").rename(root / "train" / CLASSES[0] / "w.JPEG")
    assert digest(read(root)) != before


# From end to end


def test_the_papers_recipe_trains_the_ann_and_the_spiking_network_as_its_authors_do() -> None:
    paper = default_recipe("iir", "imagenet").change(timesteps=(5, 3, 1))
    assert paper.stages == (Stage(0, 101), Stage(5, 25), Stage(3, 25), Stage(1, 25))
    assert paper.batch_size == 128
    assert (method(paper, 0), peak(paper, paper.stages[0])) == (("sgd", 5e-4), 1e-2)
    assert (method(paper, 1), peak(paper, paper.stages[-1])) == (("adam", 0.0), 2e-5)
    chosen = default_recipe("iir", "imagenet").change(optimiser="adamw", weight_decay=0.3)
    assert method(chosen, 0) == method(chosen, 1) == ("adamw", 0.3)
    ours = default_recipe("iir-bn", "imagenet")
    assert ours.stages == (Stage(0, 40), Stage(1, 48))
    assert method(ours, 0) == method(ours, 1) == ("adamw", 0.05)


def trained(train_snn: Command, out: Path, root: Path, *flags: str) -> "Answer":
    return train_snn("--data", f"imagenet:{root}", "--out", out, *unless(flags, TINY), *flags)


def left(directory: Path) -> dict[str, Any]:
    return {s: checkpoint.load(directory / f"{s}.pt")["network"] for s in ("ann", "t1")}


@pytest.mark.parametrize(("network", "size"), [("vgg16", 224), ("resnet34", 32)])
def test_from_pictures_to_a_proven_file(
    train_snn: Command,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    network: str,
    size: int,
) -> None:
    out, model = tmp_path / "run", tmp_path / "model.onnx"
    flags = () if size == 224 else ("--image-size", f"{size}x{size}")
    answer = trained(train_snn, out, root, "--network", network, *flags)
    assert answer.code == 0, answer.err
    content = checkpoint.load(out / "t1.pt")
    assert content["input"] == {
        "height": size, "width": size, "fit": "crop",
        "offset": [124, 116, 104], "deviation": [58.395, 57.12, 57.375],
    }  # fmt: skip
    assert content["settings"]["augmentation"]["resized"]
    monkeypatch.setattr(sys, "argv", ["export-snn", str(out / "t1.pt"), str(model), "--data",
                                      f"imagenet:{root}", "--threads", "1"])  # fmt: skip
    assert export_cli.main() == 0
    assert model.exists()


class After:
    """Asks the run to stop after so many steps."""

    received = 15

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_stopped_and_resumed_a_run_ends_with_the_same_bits(
    train_snn: Command, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--network", "vgg5", "--image-size", "32x32", "--epochs", "2", "--batch-size", "5")
    assert trained(train_snn, tmp_path / "whole", root, *flags).code == 0
    for steps in (1, 2, 5):
        out = tmp_path / str(steps)
        with monkeypatch.context() as patched:
            patched.setattr(report, "Interruption", lambda steps=steps, **_: After(steps))
            assert trained(train_snn, out, root, *flags).code == 143
        assert train_snn("--resume", out, "--threads", "1").code == 0
        assert_same(left(out), left(tmp_path / "whole"))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_damaged_picture_stops_the_run_when_it_is_met_and_once_repaired_it_goes_on(
    train_snn: Command, root: Path, tmp_path: Path, part: str
) -> None:
    flags = ("--network", "vgg5", "--image-size", "32x32")
    assert trained(train_snn, tmp_path / "whole", root, *flags).code == 0
    victim, out = root / part / CLASSES[1] / "large.JPEG", tmp_path / "run"
    good = victim.read_bytes()
    victim.write_bytes(good[: len(good) // 2])
    answer = trained(train_snn, out, root, *flags)
    assert answer.code == 3
    last = answer.err.splitlines()[-1]
    assert last.startswith(f"train-snn: error: {victim}: is a JPEG that ends too early")
    assert "put a good copy in its place" in last and last.endswith("[bad_data]")
    victim.write_bytes(good)
    assert train_snn("--resume", out, "--threads", "1").code == 0
    assert_same(left(out), left(tmp_path / "whole"))
    victim.rename(victim.with_name("other.JPEG"))
    answer = train_snn("--resume", out)
    assert answer.code == 3 and "has changed since the run" in answer.err
