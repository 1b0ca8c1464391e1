"""What export-snn needs to know of a network, from any framework."""

from typing import Any, Protocol

from torch import Tensor

from snn_export.fold import FoldedNetwork
from snn_runtime.graph import Image


class Origin(Protocol):
    """A trained network at T = 1, before it is folded."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def bits(self) -> int:
        """Bits of the integers it was trained in, which its file must have; 0 for any."""

    @property
    def image(self) -> Image:
        """The picture it takes; `offset` is the mean that it was trained with, in grey levels."""

    def fold(self) -> FoldedNetwork:
        """Its weights and thresholds, with everything else folded in."""

    def logits(self, images: Tensor) -> Tensor:
        """What the unfolded network says of uint8 images `(N, H, W, 3)`."""

    def provenance(self) -> dict[str, Any]:
        """Where it comes from, for the file's metadata: plain containers."""
