"""A network that somebody else's program trained: folded, and still able to run as it was."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snn_export.fold import FoldedNetwork
from snn_export.importers.execute import Spikes, execute
from snn_export.importers.hooked import Driven
from snn_export.importers.layers import Layers
from snn_export.importers.lower import Lowered, lower
from snn_export.importers.picture import Picture
from snn_runtime.graph import Image

Original = Callable[[Tensor], tuple[Spikes, Tensor]]
"""Spikes by layer and logits, for normalised images `(N, C, H, W)`."""
Drive = Callable[[Tensor], Driven]
"""The same, and currents, where neurons fire at random."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """An imported network. Making one folds it; what cannot be folded is refused then."""

    framework: str
    layers: Layers
    picture: Picture
    original: Original
    """Its own program where there is one, else its layers run one by one."""
    notes: tuple[str, ...] = ()
    """What the reader of the report must know: what was lost, what was decided."""
    drive: Drive | None = None
    """There if `original` is its own program, and not our reading of its layers."""
    files: tuple[Path, ...] = ()
    """That it was read from, and that must not be written over."""
    lowered: Lowered = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lowered", lower(self.layers, self.picture))

    @classmethod
    def of_data(
        cls, framework: str, layers: Layers, picture: Picture, notes: tuple[str, ...] = ()
    ) -> "Foreign":
        """Return the network of a format that holds no program."""
        return cls(framework, layers, picture, lambda images: execute(layers, images), notes)

    @property
    def has_program(self) -> bool:
        return self.drive is not None

    @property
    def bits(self) -> int:
        """0: no other framework's file says that it was trained in integers."""
        return 0

    @property
    def labels(self) -> tuple[str, ...]:
        return self.picture.labels

    @property
    def image(self) -> Image:
        return self.picture.image

    def fold(self) -> FoldedNetwork:
        return self.lowered.network

    @torch.no_grad()
    def run(self, images: Tensor) -> tuple[Spikes, Tensor]:
        """What the original makes of uint8 images `(N, H, W, 3)`."""
        return self.original(self.picture.tensor(images, self.lowered.channels))

    @torch.no_grad()
    def driven(self, images: Tensor) -> Driven | None:
        """What its own program makes of them where neurons fire at random, if it has one."""
        if self.drive is None:
            return None
        return self.drive(self.picture.tensor(images, self.lowered.channels))

    def logits(self, images: Tensor) -> Tensor:
        return self.run(images)[1]

    def provenance(self) -> dict[str, Any]:
        """Where the network comes from and how its pixels are normalised."""
        return {
            "imported": self.framework,
            "mean": list(self.picture.mean),
            "std": list(self.picture.deviation),
            "channels": self.lowered.channels,
            "notes": list(self.notes),
        }
