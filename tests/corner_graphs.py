"""Fixed graphs, each something that an engine driven by spikes could get wrong.

Sums that leave 16 bits on the way, channels that do not fill a vector, groups that cross the border
of one, counts beyond a byte and of two sources, pictures in late layers, windows over every edge.
"""

from collections.abc import Callable

import numpy as np
from growing import Growing

from snn_runtime.graph import INPUT, Projection, SpikingGraph

CORNERS: dict[str, Callable[[], SpikingGraph]] = {}


def corner(make: Callable[[], SpikingGraph]) -> Callable[[], SpikingGraph]:
    CORNERS[make.__name__] = make
    return make


def _all_on(channels: int, height: int = 2, width: int = 3) -> Growing:
    """A first population in which everybody fires."""
    grown = Growing(height, width)
    grown.convolve("on", INPUT, channels, firing="all")
    return grown


@corner
def sums_that_end_at_the_brim_of_16_bits() -> SpikingGraph:
    grown = _all_on(600)
    grown.convolve("brim", "on", 130, kind="brim")
    grown.convolve("shared", "on", 130, kind="brim", limit=126, firing="far")
    grown.convolve("mixed", "on", 65, kind="brim", limit=127, firing="mixed")
    return grown.graph("brim")


@corner
def sums_that_leave_16_bits_and_come_back() -> SpikingGraph:
    grown = _all_on(600)
    grown.convolve("halves", "on", 300, kind="halves")
    around = grown.weight("halves", 127, 65, 600, 3, 3)
    grown.add("around", Projection("on", around, padding=(1, 1)))
    return grown.graph("halves", kind="signed", limit=127, classes=65)


@corner
def sums_far_beyond_16_bits() -> SpikingGraph:
    grown = _all_on(700, 10, 10)
    grown.dense("whole", "on", out=66, kind="signed")
    grown.dense("both", "on", INPUT, "whole", out=3, kind="extreme", limit=90)
    return grown.graph("on", classes=2, kind="signed", limit=127)


@corner
def sums_right_below_24_bits() -> SpikingGraph:
    grown = _all_on(132_104 // 4, 2, 2)
    grown.dense("largest", "on", out=3, kind="signed")
    return grown.graph()


@corner
def weights_around_half_and_a_quarter_of_a_byte() -> SpikingGraph:
    grown = _all_on(270)
    for limit in (31, 32, 33, 42, 43, 63, 64, 65, 126):
        grown.convolve(f"limit{limit}", "on", 66, kind="extreme", limit=limit, firing="mixed")
        grown.convolve(f"signed{limit}", "on", 66, kind="signed", limit=limit, firing="far")
    return grown.graph()


@corner
def half_bytes_beside_every_tile() -> SpikingGraph:
    grown = Growing(3, 5)
    source = INPUT
    for out in (65, 31, 33, 63, 64, 127, 128, 129, 193, 255, 256, 257, 384, 513, 577, 1025):
        source = grown.convolve(f"w{out}", source, out, firing="mixed", kind="half_bytes")
    for out in (1, 65, 300, 513):
        source = grown.dense(f"d{out}", source, out=out, kind="half_byte_ends")
    return grown.graph(kind="half_bytes", limit=8, classes=300)


@corner
def half_bytes_from_many_at_once() -> SpikingGraph:
    """Sums in bytes of 1 to 16 rows and again, all of them the lowest or all the highest."""
    grown = Growing(1, 1)
    for count in (1, 15, 16, 17, 31, 32, 33, 48, 49):
        on = grown.convolve(f"on{count}", INPUT, count, firing="all")
        for weight in (-8, 7, 0):
            rows = np.full((260, count, 1, 1), weight, np.int8)
            grown.add(f"from{count}.{weight}", Projection(on, rows), firing="mixed")
        grown.convolve(f"ends{count}", on, 260, kind="half_byte_ends", firing="mixed")
    return grown.graph()


@corner
def half_bytes_that_leave_16_bits() -> SpikingGraph:
    grown = _all_on(1200, 3, 3)
    lowest = np.full((130, 1200, 3, 3), -8, np.int8)
    grown.add("lowest", Projection("on", lowest, padding=(1, 1)))
    back = grown.weight("halves", 7, 130, 1200, 3, 3)
    both = (Projection("on", weight, padding=(1, 1)) for weight in (back, lowest))
    grown.add("back", *both, firing="mixed")
    return grown.graph()


@corner
def half_bytes_beside_whole_ones() -> SpikingGraph:
    """One weight beyond four bits in one of two projections, groups, counts and the picture."""
    grown = Growing(6, 6)
    grown.convolve("on", INPUT, 128, firing="dense")
    counts = grown.pool("on", "sum", 2)
    fits = grown.weight("half_bytes", 8, 256, 128, 3, 3)
    grown.add("counted", Projection(counts, fits[:, :, :1, :1]), firing="mixed")
    beyond = grown.weight("half_bytes", 8, 256, 128, 1, 1)
    beyond[-1, -1] = 8
    around = Projection("on", fits, padding=(1, 1))
    grown.add("whole", around, Projection("on", beyond), firing="mixed")
    picture = Projection(INPUT, grown.weight("random", 127, 256, 3, 3, 3), padding=(1, 1))
    grown.add("seen", around, picture, firing="mixed")
    split = Projection("seen", grown.weight("half_bytes", 8, 512, 128, 1, 1), groups=2)
    grown.add("split", split, firing="mixed")
    return grown.graph(kind="half_bytes", limit=8, classes=128)


@corner
def widths_beside_every_tile() -> SpikingGraph:
    grown = Growing(3, 5)
    source = INPUT
    for out in (1, 63, 64, 65, 127, 129, 191, 193, 255, 257, 320, 449, 511, 513, 2):
        source = grown.convolve(f"w{out}", source, out, firing="mixed", kind="extreme")
    for out in (300, 1, 513, 65):
        source = grown.dense(f"d{out}", source, out=out)
    return grown.graph()


@corner
def groups_that_cross_tiles() -> SpikingGraph:
    grown = Growing(6, 5)
    grown.convolve("a", INPUT, 195, (3, 3), groups=3, padding=(1, 1))
    grown.convolve("b", "a", 129, (3, 3), groups=3, padding=(1, 1))
    grown.convolve("c", "a", 500, (1, 2), groups=5)
    grown.convolve("d", "a", 65, (2, 2), groups=65, padding=(1, 0), firing="all")
    grown.convolve("e", "c", 125, (3, 1), groups=125, stride=(2, 2), kind="signed")
    grown.convolve("f", "b", 129, (1, 1), groups=43, firing="mixed")
    return grown.graph("f")


@corner
def depthwise() -> SpikingGraph:
    grown = Growing(7, 5)
    grown.convolve("a", INPUT, 513, (3, 3), padding=(1, 1))
    grown.convolve("b", "a", 513, (3, 3), groups=513, padding=(1, 1))
    grown.convolve("c", "b", 1026, (5, 5), groups=513, padding=(2, 4), stride=(2, 3))
    grown.convolve("d", "c", 513, (1, 1), groups=513)
    return grown.graph()


@corner
def kernels_larger_than_their_sources() -> SpikingGraph:
    grown = Growing(2, 3)
    grown.convolve("a", INPUT, 70, (7, 5), padding=(6, 4))
    grown.convolve("b", "a", 66, (5, 7), padding=(2, 3), stride=(3, 2))
    grown.convolve("c", "b", 65, (1, 7), padding=(0, 6), firing="all")
    grown.convolve("d", "c", 5, (7, 1), padding=(6, 0), stride=(4096, 4096))
    grown.convolve("e", "d", 3, (3, 3), padding=(2, 2))
    return grown.graph()


@corner
def sums_of_more_than_a_byte() -> SpikingGraph:
    grown = Growing(35, 52)
    grown.convolve("a", INPUT, 5, firing="all")
    for kernel in (15, 16, 17):
        pooled = grown.pool("a", "sum", kernel)
        grown.convolve(f"c{kernel}", pooled, 67, (2, 1), kind="extreme")
        grown.dense(f"d{kernel}", pooled, out=9)
    twice = grown.pool(grown.pool("a", "sum", 4), "sum", 4)
    grown.convolve("twice", twice, 65, (2, 2), groups=5, padding=(1, 1))
    return grown.graph(twice)


@corner
def sums_of_more_than_two_bytes() -> SpikingGraph:
    grown = Growing(256, 257)
    grown.convolve("a", INPUT, 1, firing="all")
    pooled = grown.pool(grown.pool("a", "sum", 16), "sum", 16)
    grown.dense("d", pooled, out=3, kind="signed")
    return grown.graph(pooled, classes=1)


@corner
def pools_of_pools() -> SpikingGraph:
    grown = Growing(23, 19)
    grown.convolve("a", INPUT, 65, (2, 2))
    most = grown.pool(grown.pool(grown.pool("a", "max", 2), "sum", 2), "max", 2)
    grown.convolve("b", most, 66, (2, 2), padding=(1, 1))
    total = grown.pool(grown.pool(grown.pool("a", "sum", 2), "max", 3), "sum", 2)
    grown.dense("c", total, most, "b", out=130)
    again = grown.pool(grown.pool("a", "sum", 3), "max", 2)
    same = grown.pool(again, "sum", 1)
    grown.convolve("e", same, 65, (1, 1), groups=65)
    grown.dense("d", total, INPUT, out=7, limit=60)
    return grown.graph(total)


@corner
def the_image_in_a_late_layer() -> SpikingGraph:
    grown = Growing(9, 8, offset=(0, 255, 128))
    grown.convolve("a", INPUT, 129, (3, 3), padding=(1, 1))
    half = grown.pool("a", "max", 2)
    image = grown.weight("extreme", 127, 300, 3, 5, 4)
    spikes = grown.weight("random", 60, 300, 129, 1, 1)
    grown.add(
        "b",
        Projection(half, spikes),
        Projection(INPUT, image, (2, 2), (1, 1)),
        Projection("a", grown.weight("halves", 9, 300, 43, 3, 2), (2, 2), (0, 0), 3),
        Projection(half, grown.weight("one", 127, 300, 129, 3, 3), (1, 1), (1, 1)),
        firing="mixed",
    )
    grown.dense("c", INPUT, "b", INPUT, out=130)
    grown.dense("d", INPUT, out=513, kind="extreme")
    return grown.graph("c")


@corner
def thresholds_that_differ_by_position() -> SpikingGraph:
    """Rings of several widths, strides, groups, 1×1, two ways from the picture, spikes too."""
    grown = Growing(9, 11, offset=(127, 0, 200))
    for number, (kernel, stride, padding) in enumerate(
        [(3, 1, 1), (5, 1, 2), (7, 2, 3), (1, 1, 0), (1, 3, 0), (2, 2, 1), (5, 4, 4)]
    ):
        out, steps, around = 3 * (21 + number), (stride, stride), (padding, padding)
        for groups, firing in ((1, "edge"), (3, "edge"), (1, "far")):
            weight = grown.weight("random", 127, out, 3 // groups, kernel, kernel)
            look = Projection(INPUT, weight, steps, around, groups)
            grown.add(f"{firing}{number}.{groups}", look, firing=firing, positions=True)
    image = [Projection(INPUT, grown.weight("random", 127, 130, 3, k, k), padding=(p, p))
             for k, p in ((3, 1), (5, 2))]  # fmt: skip
    grown.add("twice", *image, positions=True)
    spikes = Projection("edge0.1", grown.weight("extreme", 9, 130, 63, 3, 3), padding=(1, 1))
    grown.add("mixed", spikes, *image, positions=True)
    grown.add("mixed.later", spikes, image[1], positions=True, firing="far")
    return grown.graph("mixed")


@corner
def rows_of_more_than_two_bytes() -> SpikingGraph:
    grown = Growing(1, 300)
    grown.convolve("a", INPUT, 300, firing="dense")
    grown.convolve("b", "a", 300, (1, 3), groups=300)
    grown.convolve("c", "b", 3, (1, 299), padding=(0, 1))
    return grown.graph("c")


@corner
def a_large_picture() -> SpikingGraph:
    grown = Growing(131, 127)
    grown.convolve("a", INPUT, 9, (7, 7), stride=(2, 2), padding=(3, 3))
    grown.convolve("b", "a", 65, (3, 3), padding=(1, 1), firing="sparse")
    grown.convolve("c", grown.pool("b", "max", 3), 3, (3, 3))
    return grown.graph()


@corner
def a_thousand_classes_from_one_pixel() -> SpikingGraph:
    grown = Growing(1, 1)
    grown.convolve("a", INPUT, 65)
    grown.convolve("silent", "a", 64, firing="none")
    grown.convolve("b", "silent", 33, firing="far")
    return grown.graph("a", classes=1000)


@corner
def nobody_fires() -> SpikingGraph:
    grown = Growing(4, 4)
    grown.convolve("a", INPUT, 70, firing="none")
    grown.convolve("b", "a", 70, (3, 3), padding=(2, 2))
    grown.convolve("c", grown.pool("a", "sum", 2), 5, (2, 2))
    return grown.graph("a", classes=13)


@corner
def many_small_stages() -> SpikingGraph:
    grown = Growing(3, 2)
    source = grown.convolve("n0", INPUT, 3)
    for i in range(1, 60):
        source = grown.convolve(f"n{i}", source, 2 + i % 3, (2, 1) if i == 7 else (1, 1))
    return grown.graph("n50", classes=3)


@corner
def counts_of_two_sources_at_the_brim_of_16_bits() -> SpikingGraph:
    grown = _all_on(300)
    grown.convolve("too", INPUT, 300, firing="mixed")
    twice = grown.join("add", grown.join("add", "on", "too"), "on")
    grown.convolve("brim", twice, 130, kind="brim")
    grown.convolve("halves", twice, 65, kind="halves", firing="mixed")
    grown.convolve("split", twice, 150, groups=3, kind="extreme", firing="far")
    grown.convolve("half_bytes", twice, 256, kind="half_byte_ends", firing="mixed")
    return grown.graph(grown.join("add", "brim", "brim"))


@corner
def added_to_itself_again_and_again() -> SpikingGraph:
    """Counts of 2 to 256: as lists of events, and beyond 64 of them as numbers."""
    grown = Growing(4, 5)
    grown.convolve("a", INPUT, 65, (2, 2), padding=(1, 1), firing="sparse")
    source = "a"
    for number in range(8):
        source = grown.join("add", source, source)
        grown.convolve(f"c{number}", source, 66, (2, 1), kind="signed", limit=3)
    pooled = grown.pool(source, "sum", 2)
    grown.dense("d", pooled, grown.pool(source, "max", 2), "c3", out=7, limit=30)
    return grown.graph(grown.join("add", pooled, pooled))


@corner
def shortcuts_of_every_kind() -> SpikingGraph:
    """A SEW-ResNet's: bits in masks beside every word, counts behind counts, each then read."""
    grown = Growing(7, 9)
    for channels in (1, 64, 65, 129):
        x = grown.convolve(f"x{channels}", INPUT, channels, (3, 3), padding=(1, 1))
        y = grown.convolve(f"y{channels}", x, channels, (3, 3), padding=(1, 1))
        both, only = grown.join("and", x, y), grown.join("iand", x, y)
        never, always = grown.join("iand", both, both), grown.join("and", only, only)
        total = grown.join("add", grown.join("add", both, only), y)
        grown.convolve(f"z{channels}", total, 67, (3, 3), padding=(1, 1), firing="mixed")
        pooled = grown.pool(grown.join("and", always, y), "max", 2)
        grown.dense(f"d{channels}", never, grown.pool(total, "sum", 3), pooled, out=5)
    return grown.graph(total)


@corner
def sums_of_unlike_windows() -> SpikingGraph:
    """Maps of 2 × 2 from windows of 4 and of 5, from maxima of sums, from a layer of its own."""
    grown = Growing(10, 10)
    grown.convolve("a", INPUT, 33, (3, 3), padding=(1, 1))
    four, five = grown.pool("a", "sum", 4), grown.pool("a", "sum", 5)
    largest = grown.pool(grown.pool("a", "sum", 2), "max", 2)
    grown.convolve("b", four, 33, firing="mixed")
    total = grown.join("add", grown.join("add", four, five), "b")
    grown.convolve("c", total, 65, (2, 2), padding=(1, 1))
    mixed = grown.join("add", total, largest)
    grown.convolve("d", mixed, 65, kind="extreme")
    single = grown.pool("b", "sum", 1)
    grown.dense("e", grown.pool(mixed, "sum", 2), grown.join("and", single, "b"), out=3)
    return grown.graph(mixed)


@corner
def spikes_of_several_levels() -> SpikingGraph:
    """Beside every word, of the picture alone and not, pooled every way, joined and read again."""
    grown = Growing(7, 9)
    for channels, levels in ((1, 15), (64, 2), (65, 3), (129, 2)):
        x = grown.convolve(f"x{channels}", INPUT, channels, (3, 3), firing="mixed", levels=levels)
        weight = grown.weight("half_bytes", 127, channels, channels, 3, 3)
        y = grown.add(f"y{channels}", Projection(x, weight, padding=(1, 1)), levels=levels)
        image = Projection(INPUT, grown.weight("random", 9, 67, 3, 5, 5))
        spikes = Projection(y, grown.weight("extreme", 127, 67, channels, 3, 3))
        z = grown.add(f"z{channels}", image, spikes, firing="far", levels=levels)
        both = grown.join("add", grown.join("add", x, y), x)
        most = grown.pool(grown.pool(y, "max", 2), "max", 2)
        counts = grown.pool(grown.pool(y, "max", 2), "sum", 2), grown.pool(both, "max", 3)
        grown.dense(f"d{channels}", z, most, *counts, grown.pool(x, "sum", 3), out=5)
    return grown.graph(both)


@corner
def levels_at_the_brim_of_16_bits() -> SpikingGraph:
    grown = Growing(2, 3)
    grown.convolve("on", INPUT, 300, firing="all", levels=2)
    grown.convolve("brim", "on", 130, kind="brim", levels=3, firing="mixed")
    grown.convolve("halves", "on", 65, kind="halves", firing="mixed", levels=2)
    grown.convolve("split", "on", 150, groups=3, kind="extreme", firing="far", levels=2)
    grown.convolve("half_bytes", "on", 256, kind="half_byte_ends", firing="mixed", levels=2)
    return grown.graph("half_bytes")


@corner
def rows_wider_than_the_registers() -> SpikingGraph:
    """Of few pixels, and of more weights than a core's cache holds: 8 bits, 4 bits, a shortcut."""
    grown = _all_on(150, 2, 2)
    grown.dense("brim", "on", out=1000, kind="brim")
    grown.convolve("signed", "on", 577, (3, 3), kind="signed", padding=(1, 1), firing="mixed")
    ends = grown.weight("half_byte_ends", 8, 577, 577, 3, 3)
    shortcut = Projection("signed", grown.weight("random", 9, 577, 1, 1, 1), groups=577)
    grown.add("ends", Projection("signed", ends, padding=(1, 1)), shortcut, levels=2)
    return grown.graph("ends")
