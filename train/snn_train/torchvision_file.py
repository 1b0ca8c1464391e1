"""A state dict of torchvision, as the ANN of this package: which family, and what is refused."""

from pathlib import Path
from typing import Any

from torch import Tensor

from snn_train import torchvision_resnet, torchvision_vgg
from snn_train.torch_zip import refuse, state_dict, unwrapped_state

NAMES = (*torchvision_vgg.NAMES, *torchvision_resnet.NAMES)


def weights_of(path: Path, content: Any) -> tuple[str, dict[str, Tensor]]:
    """Return the name of our network, and the layers' part of our ANN's state, in float32.

    Args:
        content: what the file holds: a state dict, or one where a training script keeps it.

    Raises:
        ModelError: `bad_checkpoint`: another network, said which, or numbers that are not finite.
    """
    remedy = f"--ann reads an ann.pt of train-snn and state dicts of {', '.join(NAMES)}"
    weights = unwrapped_state(path, state_dict(path, content, remedy))
    try:
        if "classifier.1.weight" in weights:
            raise ValueError("holds no VGG with batch normalisation")
        if "layer1.0.conv1.weight" in weights:
            return torchvision_resnet.weights_of(weights)
        return torchvision_vgg.weights_of(weights)
    except ValueError as error:
        raise refuse(path, f"{error}; {remedy}") from error
