"""The golden images must be the same for ever: files in the field carry hashes of their spikes."""

import hashlib

import numpy as np

from snn_runtime.graph import Builder, Elementwise, Image
from snn_runtime.graph.reference import Spikes
from snn_runtime.proof.golden import golden_hash, golden_images, is_cheap


def test_the_images_never_change() -> None:
    images = golden_images(Image(20, 33, (0, 0, 0)))
    assert images.dtype == np.uint8
    assert images.shape == (8, 20, 33, 3)
    assert hashlib.sha256(images.tobytes()).hexdigest() == (
        "f4c5e558831d578060ea68eebffc3fd63c778c55dd9da45bbd053ef4ee8bcf65"
    )


def test_blocks_are_uniform_and_the_images_differ() -> None:
    images = golden_images(Image(32, 32, (0, 0, 0)))
    for image, block in zip(images, (1, 1, 4, 4, 8, 8, 16, 16), strict=True):
        corners = image[::block, ::block].repeat(block, axis=0).repeat(block, axis=1)
        np.testing.assert_array_equal(image, corners)
    assert len({image.tobytes() for image in images}) == 8


def test_the_hash_never_changes() -> None:
    spikes: dict[str, Spikes] = {
        "a": np.array([[1, 0, 1]], np.uint8),
        "b": np.zeros((1, 2, 2, 2), np.bool_),
    }
    packed = b"a 1x3\n" + bytes([0b10100000]) + b"b 1x2x2x2\n" + bytes([0])
    assert golden_hash(spikes) == hashlib.sha256(packed).hexdigest()


def test_the_hash_is_of_bits_not_of_dtypes() -> None:
    bits = np.array([[0, 1, 1, 0]], np.uint8)
    assert golden_hash({"a": bits == 1}) == golden_hash({"a": bits})


def test_the_hash_is_of_every_spike() -> None:
    sent = np.array([[0, 1, 2, 3, 2, 0, 0, 1]], np.uint8)
    packed = b"a 1x8 of 3\n" + bytes([0b01111001, 0b00111000, 0b00010000])
    assert golden_hash({"a": sent}) == hashlib.sha256(packed).hexdigest()
    others = [np.minimum(sent, 1), np.minimum(sent, 2), np.where(sent == 1, 2, sent)]
    assert len({golden_hash({"a": each}) for each in (sent, *others)}) == 4


def test_any_bit_name_or_shape_changes_the_hash() -> None:
    bits = np.zeros((2, 3, 4, 5), np.uint8)
    flipped = bits.copy()
    flipped[1, 2, 3, 4] = 1
    spikes = [{"a": bits}, {"a": flipped}, {"b": bits}, {"a": bits.reshape(2, 3, 5, 4)}, {}]
    assert len({golden_hash(item) for item in spikes}) == 5


def test_a_count_costs_what_its_spikes_cost() -> None:
    for doublings, cheap in ((0, True), (14, False)):
        net = Builder(Image(8, 8, (0, 0, 0)))
        net.neurons("c", np.zeros((1, 3, 1, 1), np.int8), np.full(1, 0.5, np.float32))
        for number in range(doublings):
            net.add(Elementwise(f"d{number}", "add", net.last, net.last))
        net.neurons("x", np.zeros((1024, 64), np.int8), np.full(1024, 0.5, np.float32))
        numbers = np.ones(2, np.float32)
        assert is_cheap(net.graph(np.zeros((2, 1024), np.int8), numbers, numbers, "ab")) is cheap
