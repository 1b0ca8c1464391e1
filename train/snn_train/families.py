"""The named networks: VGGs, the paper's wide residual family and torchvision's ResNets.

`layout.plan` makes layers of them.
"""


def _torchvision(*counts: int) -> list[int | str]:
    """So many convolutions in each of torchvision's five parts, a pool behind every part."""
    found: list[int | str] = []
    for channels, count in zip((64, 128, 256, 512, 512), counts, strict=True):
        found += [*[channels] * count, "A"]
    return found


VGG: dict[str, list[int | str]] = {
    "vgg5": [64, "A", 128, 128, "A"],
    "vgg7s": ["S", 256, "S", 256, 256, "S", 512, 512, "A"],
    "vgg7w": ["S", 512, "S", 256, 256, "S", 512, 512],
    "vgg9": [64, "A", 128, 256, "A", 256, 512, "A", 512, "A", 512],
    "vgg9w": [128, "A", 128, 256, "A", 256, 512, "A", 512, "A", 512],
    "vgg9s": ["S4", 128, 128, 256, "S4", 256, 512, "S4", 512, "S4", 512],
    "vgg11": [64, "A", 128, 256, "A", 512, 512, 512, "A", 512, 512],
    "vgg13": [64, 64, "A", 128, 128, "A", 256, 256, "A", 512, 512, 512, "A", 512],
    "vgg16": [64, 64, "A", 128, 128, "A", *[256] * 3, "A", *[512] * 3, "A", *[512] * 3],
    "vgg19": [64, 64, "A", 128, 128, "A", *[256] * 4, "A", *[512] * 4, "A", *[512] * 4],
    "vgg11_bn": _torchvision(1, 1, 2, 2, 2),
    "vgg13_bn": _torchvision(2, 2, 2, 2, 2),
    "vgg16_bn": _torchvision(2, 2, 3, 3, 3),
    "vgg19_bn": _torchvision(2, 2, 4, 4, 4),
}
"""Channels of 3×3 convolutions; "A" halves the map, "S" gives the next one a stride of two, "S4" a
kernel of 4×4 besides. As in the IIR-SNN authors' code but for VGG11, which has one pool more there;
for `vgg7s`, `vgg7w`, `vgg9w` and `vgg9s`, which are ours; and for the last four, which are
torchvision's.

Of the picture a first population keeps one bit a channel, so ours have more channels there, where
they are cheap. A stride in place of a pool leaves three quarters of a layer's multiply-adds to
channels, in training and in the engine. A 3×3 convolution and an average over 2×2 currents is a
4×4 convolution with a stride of two, at four ninths of the work."""

RESNET = {"resnet12": (1, 1, 1, 1), "resnet20": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""Blocks in each of the four stages of 64, 128, 256, 512 channels, behind a stem of three
convolutions: the authors' wide form (11 M parameters for ResNet-20), not He's 0.27 M one."""

RESNET_BN = {
    "resnet18_bn": ((2, 2, 2, 2), False),
    "resnet34_bn": ((3, 4, 6, 3), False),
    "resnet50_bn": ((3, 4, 6, 3), True),
}
"""Likewise, and whether blocks are bottlenecks, as torchvision has them: behind one 7×7 convolution
and a pool whose windows overlap, every normalisation with a gain."""

NETWORKS = (*VGG, *RESNET, *RESNET_BN)
