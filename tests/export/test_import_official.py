"""The IIR-SNN authors' files, against a second writing of their forward pass."""

from pathlib import Path
from typing import Any

import commands
import networks
import numpy as np
import official
import pytest
import torch
from official import VGG

from snn_export import importers
from snn_export.importers import Foreign, Picture, detect
from snn_export.layerwise import differing
from snn_export.parity import compare
from snn_export.quantise import to_int8
from snn_export.unrounded import to_float32
from snn_runtime.engines.onnxruntime.backend import OrtBackend
from snn_runtime.errors import ModelError

CIFAR = ("--mean", "0.4914,0.4822,0.4465", "--std", "0.2023,0.1994,0.2010")


def picture(size: tuple[int, int]) -> Picture:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    return Picture.of(("cat", "dog", "frog"), size, mean, std)


CASES: list[tuple[str, official.State, list[int | str] | None, tuple[int, int]]] = []


def setup_module() -> None:
    torch.manual_seed(0)
    CASES.extend(
        [
            ("vgg16", official.vgg(VGG["vgg16"], 4), VGG["vgg16"], (32, 32)),
            ("vgg9", official.vgg(VGG["vgg9"], 4, biases=False), VGG["vgg9"], (32, 32)),
            ("imagenet", official.vgg(VGG["vgg11"], 49), [*VGG["vgg11"], "A"], (224, 224)),
            ("resnet20", official.resnet(), None, (32, 32)),
            ("biasless", official.resnet(biases=False, blocks=(1, 1, 1, 1)), None, (32, 32)),
        ]
    )


def read(path: Path, described: Picture) -> Foreign:
    held = importers.contents("iir-official", path)
    return importers.load("iir-official", path, held, described, None, None)


def loaded(tmp_path: Path, state: official.State, size: tuple[int, int]) -> Foreign:
    return read(official.save(tmp_path / "net.pth", state), picture(size))


@pytest.mark.parametrize("case", range(5))
def test_spikes_are_those_of_the_authors_forward_pass(tmp_path: Path, case: int) -> None:
    name, state, plan, size = CASES[case]
    foreign = loaded(tmp_path, state, size)
    images = networks.pictures(size, 8 if size[0] < 224 else 2)
    normalised = picture(size).tensor(torch.from_numpy(images), 3)
    spikes, logits = official.forward(state, normalised, plan)
    watched = [each.layer for each in foreign.lowered.watched]
    theirs = {
        layer: fired.numpy() != 0
        for layer, (_, fired) in zip(watched, sorted(spikes.items()), strict=True)
    }
    for layer, difference in differing(foreign, to_float32(foreign.fold()), images, theirs).items():
        assert difference.unexplained == 0, (name, layer)
    for layer, fired in theirs.items():
        assert 0.01 < fired.mean() < 0.99, f"{name}, {layer}: would prove nothing"
    ours, own = foreign.run(torch.from_numpy(images))
    equal = [(ours[la] == theirs[la]).reshape(len(images), -1).all(axis=1) for la in theirs]
    alike = np.all(equal, axis=0)
    assert alike.any(), f"{name}: no picture's logits could be compared"
    np.testing.assert_allclose(own.numpy()[alike], logits.numpy()[alike], rtol=1e-5, atol=1e-5)


DEPTHS = [
    *[("vgg4", 28, 49), ("vgg9", 28, 1), ("vgg11", 28, 1), ("vgg16", 28, 1)],
    *[("vgg5", 32, 64), ("vgg9", 32, 4), ("vgg11", 32, 4), ("vgg13", 32, 4)],
    *[("vgg16", 32, 4), ("vgg19", 32, 4)],
    *[(name, 224, 49) for name in ("vgg9", "vgg11", "vgg13", "vgg16", "vgg19")],
]
"""Every VGG on every data set that the authors' code can run it on: pixels a side, and positions of
the last map as their first dense layers count them."""


@pytest.mark.parametrize(("name", "side", "positions"), DEPTHS)
def test_every_depth_fires_and_answers_as_the_authors(
    tmp_path: Path, name: str, side: int, positions: int
) -> None:
    """Bit for bit: all numbers are dyadic and thresholds lie between what a current can be."""
    torch.manual_seed(side)
    grey = side == 28
    plan = [*VGG[name], *(["A"] if side == 224 else [])]
    dense = 2 if name == "vgg4" else 3
    state = dyadic(official.vgg(VGG[name], positions, inputs=1 if grey else 3, dense=dense))
    pixels = networks.pictures((side, side), 4)
    normalised = (torch.from_numpy(pixels).double().movedim(3, 1) - 128) / 64
    if grey:
        red, green, blue = normalised.unbind(1)
        normalised = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    theirs, logits = official.forward(state, normalised.float(), plan)
    taken = Picture.of(("cat", "dog", "frog"), (side, side), (128.0,), (64.0,))
    foreign = read(official.save(tmp_path / "net.pth", state), taken)
    graph = to_float32(foreign.fold())
    engine = OrtBackend(graph, threads=1)
    ours = list(engine.spikes(pixels).values())
    assert len(ours) == len(theirs)
    for fired, (place, wanted) in zip(ours, sorted(theirs.items()), strict=True):
        assert 0.01 < wanted.mean() < 0.99, f"{place}: would prove nothing"
        np.testing.assert_array_equal(fired.reshape(wanted.shape) != 0, wanted.numpy() != 0)
    answers = engine.run(pixels)
    np.testing.assert_allclose(answers, logits.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(answers.argmax(1), logits.argmax(1).numpy())


def dyadic(state: official.State) -> official.State:
    """Weights in steps of 2^-8; thresholds half way between two currents of the finest step."""
    return {
        key: (value * 2**8).round() / 2**8 + (2**-16 if ".threshold." in key else 0)
        for key, value in state.items()
    }


@pytest.mark.parametrize("case", [0, 3])
@pytest.mark.parametrize("lower", [to_float32, to_int8])
def test_the_exported_graph_agrees(tmp_path: Path, case: int, lower: Any) -> None:
    _, state, _, size = CASES[case]
    foreign = loaded(tmp_path, state, size)
    graph = lower(foreign.fold())
    images = networks.pictures(size, 8)
    parity = compare(foreign, graph, OrtBackend(graph, threads=1), images)
    assert parity.rounded <= 1e-4 * parity.spikes
    assert graph.exact or parity.same_label == 1
    assert parity.layerwise <= (0.02 if graph.exact else 1e-4) * parity.spikes


def test_leak_and_reset_are_without_effect_at_one_timestep() -> None:
    """Which is why T = 1 needs no state, and T > 1 must be refused."""
    _, state, plan, size = CASES[0]
    images = picture(size).tensor(torch.from_numpy(networks.pictures(size, 4)), 3)
    other = {key: v * 0.5 if ".leak." in key else v for key, v in state.items()}
    assert torch.equal(official.forward(state, images, plan)[1],
                       official.forward(other, images, plan)[1])  # fmt: skip
    assert not torch.equal(official.forward(state, images, plan, 3)[1],
                           official.forward(other, images, plan, 3)[1])  # fmt: skip


def test_the_format_is_told_by_its_content(tmp_path: Path) -> None:
    assert detect(official.save(tmp_path / "model.txt", CASES[0][1]), None) == "iir-official"


def edited(case: int, **changes: Any) -> official.State:
    state = dict(CASES[case][1])
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del state[f"module.{name}"]
        else:
            state[f"module.{name}"] = value
    return state


REFUSED: list[tuple[int, dict[str, Any], dict[str, Any], str]] = [
    (0, {"threshold__t3": torch.tensor(0.0)}, {}, "conv2: threshold 0 is not positive"),
    (3, {"threshold__t10": torch.tensor(-0.1)}, {}, "layer1.0.neuron2: threshold -0.1 is not"),
    (0, {"threshold__t3": torch.ones(4)}, {}, "threshold.t3 has shape (4,), expected one number"),
    (0, {"threshold__t3": torch.tensor(torch.nan)}, {}, "threshold.t3 holds a number that is not"),
    (0, {}, {"timesteps": 3}, "is at T=3, export needs T=1"),
    (0, {}, {"timesteps": None}, "does not say its timesteps"),
    (0, {}, {"timesteps": torch.tensor([1, 1])}, "its timesteps are a Tensor, expected the whole"),
    (0, {}, {"timesteps": [1]}, "its timesteps are a list, expected the whole"),
    (0, {}, {"timesteps": True}, "its timesteps are a bool, expected the whole"),
    *(
        (0, {"features__6__weight": odd}, {}, f"features.6.weight: {says}")
        for odd, says in (
            (torch.ones(8, 4, 3, 3, device="meta"), "has a shape and no numbers"),
            (torch.ones(8, 4, 3, 3).to_sparse(), "is no dense tensor of plain"),
            (torch.ones(8, 4, 3, 3, dtype=torch.complex64), "holds complex numbers"),
            (torch.ones(1, 1, 1, 1).expand(8, 4, 3, 3), "repeats a few numbers"),
            ([1, 2], "is a list, no tensor"),
        )
    ),
    (0, {"threshold__t6": None}, {}, "has no 'threshold.t6'"),
    (0, {"leak__l6": None}, {}, "has no 'leak.l6'"),
    (0, {"classifier__3__weight": None}, {}, "dense layers at classifier.[0, 6], expected [0, 3"),
    (3, {"classifier__3__weight": torch.ones(3, 3)}, {}, "classifier.[0, 3], expected [0]"),
    (3, {"layer2__0__residual__3__weight": None}, {}, "has no 'layer2.0.residual.3.weight'"),
    (3, {"layer1__0__bn__weight": torch.ones(4)}, {}, "holds 'layer1.0.bn.weight', which no layer"),
    (0, {"features__6__bias": torch.ones(3)}, {}, "features.6.bias has 3 values for 8"),
    (0, {"features__6__weight": torch.ones(8, 4, 5, 5)}, {}, "expected 3x3"),
    (0, {"features__6__weight": torch.ones(9, 4, 3, 3)}, {}, "[4, 4, 9, 8, 16, 16, 16, 32, 32"),
    (0, {"features__0__weight": torch.ones(4, 1, 3, 3)}, {}, "32x32 in 1 channels is none"),
    (0, {"features__6__weight": torch.ones(8, 5, 3, 3)}, {}, "features.6: weights"),
    (0, {"features__39__weight": torch.ones(8, 4, 3, 3)}, {}, "has convolutions at features."),
    (0, {"classifier__0__weight": torch.ones(24, 999)}, {}, "is --image-size right?"),
    (0, {"classifier__6__weight": torch.ones(10, 24)}, {}, "has 10 outputs for 3 labels"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "tensors", "content", "says"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, case: int, tensors: dict[str, Any], content: dict[str, Any], says: str
) -> None:
    path, state = tmp_path / "net.pth", edited(case, **tensors)
    torch.save({"state_dict": state, "timesteps": 1} | content, path)
    with pytest.raises(ModelError) as refusal:
        read(path, picture((32, 32)))
    assert says in str(refusal.value)


@pytest.mark.parametrize("case", [2, 3])
@pytest.mark.parametrize("size", [(112, 112), (32, 33), (31, 31), (28, 28), (64, 64)])
def test_pictures_that_the_authors_code_has_no_network_for_are_refused(
    tmp_path: Path, size: tuple[int, int], case: int
) -> None:
    """ImageNet's weights fit pictures of 112×112 too, without the last pool; ResNet's for 32×32 fit
    31×31."""
    path = official.save(tmp_path / "net.pth", CASES[case][1])
    with pytest.raises(ModelError, match=f"pictures of {size[0]}x{size[1]} in 3 channels is none"):
        read(path, picture(size))


def test_an_ann_is_refused_with_or_without_its_batch_normalisation(tmp_path: Path) -> None:
    ann = {k: v for k, v in CASES[0][1].items() if "features" in k or "classifier" in k}
    with pytest.raises(ModelError, match="it is an ANN; train it down to T=1 first"):
        read(official.save(tmp_path / "ann.pth", ann), picture((32, 32)))
    spaced = {
        f"module.features.{4 * n}.weight": CASES[0][1][f"module.features.{3 * n}.weight"]
        for n in range(13)
    } | {"module.features.1.running_mean": torch.zeros(4), "module.threshold.t0": torch.ones(())}
    with pytest.raises(ModelError, match="a file with BatchNorm is an ANN before its fusion"):
        read(official.save(tmp_path / "bn.pth", spaced), picture((32, 32)))


def test_a_malicious_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "canary",))

    path = official.save(tmp_path / "net.pth", CASES[0][1], epoch=Evil())
    with pytest.raises(ModelError, match="entry 'epoch' is of getattr, which is never loaded"):
        read(path, picture((32, 32)))
    assert not (tmp_path / "canary").exists()


def test_the_command_exports_and_tells_what_it_lost(tmp_path: Path) -> None:
    path = official.save(tmp_path / "net.pth", CASES[0][1])
    flags = ("--image-size", "32x32", "--labels", "cat,dog,frog", *CIFAR)
    done = commands.export(tmp_path, path, "model.onnx", *flags)
    assert done.returncode == 0, done.stderr
    assert "against the layers as read (a file of iir-official holds no program" in done.stdout
    assert "conv1 has 4,096 thresholds, one a position: the mean is no whole grey" in done.stdout
    model = commands.load(tmp_path / "model.onnx")
    assert model.labels == ("cat", "dog", "frog")
    assert model.graph.image.offset == (125, 123, 114)
    assert model.graph.populations[0].threshold.shape == (4, 32, 32)
    model.self_test()


@pytest.mark.parametrize("missing", ["--labels", "--mean", "--std", "--image-size"])
def test_what_the_file_does_not_hold_must_be_said(tmp_path: Path, missing: str) -> None:
    path = official.save(tmp_path / "net.pth", CASES[0][1])
    flags = ["--image-size", "32x32", "--labels", "cat,dog,frog", *CIFAR]
    at = flags.index(missing)
    code, error = commands.refusal([path, tmp_path / "m.onnx", *flags[:at], *flags[at + 2 :]])
    assert code == 2 and missing in error and error.count("\n") == 1
    assert not (tmp_path / "m.onnx").exists()
