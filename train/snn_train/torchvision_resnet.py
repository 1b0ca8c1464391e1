"""torchvision's `resnet18`, `resnet34` and `resnet50`, as the ANN of this package.

Networks of theirs have a gain in every normalisation and pool behind it, and so have ours of these
names: every number is taken over as it is. `resnet34_bn` is named so since `resnet34` is the
paper's. The dense layer behind is left out: it is for a thousand classes.
"""

import re

from torch import Tensor

from snn_train.families import RESNET_BN
from snn_train.layout import LayerPlan, plan

NAMES = tuple(name.removesuffix("_bn") for name in RESNET_BN)
"""As torchvision calls them."""
NORM = {
    "gain": "weight",
    "shift": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
}


def weights_of(state: dict[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """Return the network's name, and the layers' part of our ANN's state, in float32.

    Raises:
        ValueError: another network, said which, or numbers that are not finite.
    """
    bottleneck = "layer1.0.conv3.weight" in state
    counts = tuple(_blocks(state, stage) for stage in (1, 2, 3, 4))
    name = next((name for name, form in RESNET_BN.items() if form == (counts, bottleneck)), None)
    if name is None:
        kind = " bottleneck" if bottleneck else ""
        raise ValueError(f"holds a ResNet of {', '.join(map(str, counts))}{kind} blocks")
    weights: dict[str, Tensor] = {}
    for number, layer in enumerate(plan(name, 1.0, 0, (224, 224))):
        conv, norm = _names(layer)
        shape = (layer.channels, layer.inputs, layer.kernel, layer.kernel)
        mine = _part(state, conv, norm, shape, "synapse", "norm")
        if layer.shortcut and layer.projects:
            block = conv.rpartition(".")[0]
            shape = (layer.channels, layer.shortcut_channels, 1, 1)
            down = f"{block}.downsample"
            mine |= _part(state, f"{down}.0", f"{down}.1", shape, "shortcut", "shortcut_norm")
        weights |= {f"layers.{number}.{key}": value for key, value in mine.items()}
    return name, weights


def _blocks(state: dict[str, Tensor], stage: int) -> int:
    found = {re.match(rf"layer{stage}\.(\d+)\.", key) for key in state}
    return len({match[1] for match in found if match})


def _names(layer: LayerPlan) -> tuple[str, str]:
    """Torchvision's of a layer's convolution and normalisation."""
    found = re.fullmatch(r"stage(\d)\.block(\d+)\.conv(\d)", layer.name)
    if found is None:
        return "conv1", "bn1"
    block = f"layer{found[1]}.{int(found[2]) - 1}"
    return f"{block}.conv{found[3]}", f"{block}.bn{found[3]}"


def _part(
    state: dict[str, Tensor],
    conv: str,
    norm: str,
    shape: tuple[int, ...],
    synapse: str,
    normalisation: str,
) -> dict[str, Tensor]:
    """A convolution's and a normalisation's part of our state."""
    theirs = {f"{synapse}.weight": (f"{conv}.weight", shape)}
    for ours, key in NORM.items():
        theirs[f"{normalisation}.{ours}"] = (f"{norm}.{key}", shape[:1])
    found: dict[str, Tensor] = {}
    for ours, (key, wanted) in theirs.items():
        if key not in state:
            raise ValueError(f"has no {key}")
        if tuple(state[key].shape) != wanted:
            raise ValueError(f"{key} has shape {tuple(state[key].shape)}, expected {wanted}")
        if not bool(state[key].isfinite().all()):
            raise ValueError(f"{key} is not finite")
        found[ours] = state[key].float()
    return found
