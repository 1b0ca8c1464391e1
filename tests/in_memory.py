"""Pictures of a data set of which it is known that it lies in memory."""

from torch import Tensor

from snn_train.data.on_disk import Images


def in_memory(images: Images) -> Tensor:
    assert isinstance(images, Tensor)
    return images
