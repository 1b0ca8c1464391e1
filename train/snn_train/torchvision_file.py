"""A state dict of torchvision, as the ANN of this package: which family, and what is refused."""

from pathlib import Path
from typing import Any

from torch import Tensor

from snn_train import torchvision_resnet, torchvision_vgg
from snn_train.torch_zip import refuse

NAMES = (*torchvision_vgg.NAMES, *torchvision_resnet.NAMES.values())


def weights_of(path: Path, state: Any) -> tuple[str, dict[str, Tensor]]:
    """Return the name of our network, and the layers' part of our ANN's state, in float32.

    Raises:
        ModelError: `bad_checkpoint`: another network, said which, or numbers that are not finite.
    """
    try:
        if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
            raise ValueError("holds no state dict")
        if "classifier.1.weight" in state:
            raise ValueError("holds no VGG with batch normalisation")
        if "layer1.0.conv1.weight" in state:
            return torchvision_resnet.weights_of(state)
        return torchvision_vgg.weights_of(state)
    except ValueError as error:
        reads = f"--ann reads an ann.pt of train-snn and state dicts of {', '.join(NAMES)}"
        raise refuse(path, f"{error}; {reads}") from error
