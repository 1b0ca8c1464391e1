"""The formats of other people's networks, by the names that flags and functions take."""

from typing import Literal, TypeAlias, get_args

Format: TypeAlias = Literal["iir-official", "snntorch", "spikingjelly", "nir"]
FORMATS: tuple[str, ...] = get_args(Format)
WITHOUT_PROGRAM = ("nir", "iir-official")
"""Formats whose files are complete: the others hold weights of a program."""
