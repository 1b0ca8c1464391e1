"""How a picture of another shape becomes the image that a network takes."""

from typing import Literal, TypeAlias

Fit: TypeAlias = Literal["crop", "stretch"]
"""`crop` keeps the aspect, `stretch` does not."""
