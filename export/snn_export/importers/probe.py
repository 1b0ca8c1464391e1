"""What a function does to a layer's numbers, found by experiment: networks are written in too
many ways for a list of names.

    keeps       gives its numbers back in the same order: a cast, another shape, a mean over an axis
                of one, a division by one, dropout once trained
    affine      a x + b, number by number, with constants a and b
    reduction   mean, sum or maximum of every k numbers that follow each other
    ordered     keeps the order of a row's numbers, as sigmoids and softmax do

Noise is fed, large and tiny too, so an answer holds for all numbers and not for those of one
picture: a clamp at ±4 changes little noise. Nothing rests on it alone: the network itself is run
afterwards, every spike compared, and every current that random spikes cause.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from snn_export.fold import Array

Call = Callable[[Tensor], Any]
Shape = tuple[int, ...]
Kind = Literal["average", "sum", "max"]

SPREADS = (1.0, 1e-30, 1e6, 1e30)
"""Magnitudes of the noise."""
SPREADS_WHOLE = (512, 4)
"""Those of whole numbers: beside each other the logarithm of a sum tells itself from a maximum."""
FAR = 1e3
"""Where a sigmoid no longer tells numbers apart, though it keeps their order."""
ROWS = 16
"""Noises on which an order is looked at: a sine keeps that of a few numbers by chance."""


def keeps(call: Call, shape: Shape, *, most: int = 0) -> bool:
    """Whether `call` gives back all that it is given, in order: whole numbers up to `most`, which
    neurons send, or any number."""
    noise = (_noise(shape) * spread for spread in SPREADS)
    for given in _counts(shape, most) if most else noise:
        answer = _answer(call, given)
        if answer is None or answer.numel() != given.numel():
            return False
        if not torch.equal(answer.double().flatten(), given.double().flatten()):
            return False
    return True


def affine(call: Call, shape: Shape) -> tuple[Array, Array] | None:
    """Return (a, b) of `shape` if `call` is a x + b."""
    shift = _answer(call, torch.zeros(shape, dtype=torch.float64))
    whole = _answer(call, torch.ones(shape, dtype=torch.float64))
    if shift is None or whole is None or shift.shape != shape or whole.shape != shape:
        return None
    gain = whole.double() - shift.double()
    for spread in SPREADS:
        given = _noise(shape).double() * spread
        answer = _answer(call, given)
        expected = gain * given + shift
        if answer is None or not torch.allclose(answer.double(), expected, 1e-9, 1e-9 * spread):
            return None
    if not torch.isfinite(gain).all() or not torch.isfinite(shift).all():
        return None
    return gain.numpy(), shift.double().numpy()


def reduction(call: Call, shape: Shape) -> tuple[Kind, int] | None:
    """Return the reduction of every k numbers, and k."""
    found = [_reduced(call, torch.round(_noise(shape) * spread)) for spread in SPREADS_WHOLE]
    return found[0] if found[0] == found[1] else None


def _reduced(call: Call, given: Tensor) -> tuple[Kind, int] | None:
    """The same for whole numbers, whose sums do not round."""
    answer = _answer(call, given)
    if answer is None or answer.numel() == 0 or given.numel() % answer.numel():
        return None
    width = given.numel() // answer.numel()
    rows = given.reshape(-1, width)
    candidates: tuple[tuple[Kind, Tensor], ...] = (
        ("average", rows.mean(1)), ("sum", rows.sum(1)), ("max", rows.amax(1)),
    )  # fmt: skip
    for kind, expected in candidates:
        if width > 1 and torch.allclose(answer.flatten().float(), expected, 1e-5, 1e-3):
            return kind, width
    return None


def ordered(call: Call, shape: Shape) -> bool:
    """Whether the numbers of each row, the last axis, keep their order: without ties as far out as
    sigmoids tell numbers apart, and beyond that without any that change places."""
    for seed in range(ROWS):
        near = _noise(shape, seed).double() * 4
        for given in (near, near * FAR):
            answer = _answer(call, given)
            if answer is None or answer.shape != shape or not answer.is_floating_point():
                return False
            rise = answer.gather(-1, given.argsort(-1)).diff(dim=-1)
            if not ((rise > 0) if given is near else (rise >= 0)).all():
                return False
    return True


def _counts(shape: Shape, most: int) -> Iterator[Tensor]:
    """Numbers of which every place takes all of 0 to `most`, so that none can be masked, and no two
    places have the same every time, so that none can change places: the digits of a number that
    each place has for itself.
    """
    digits, levels = _noise(shape).flatten().argsort(), most + 1
    for first in range(levels):
        yield ((digits + first) % levels).float().reshape(shape)
    while (digits := digits // levels).any():
        yield (digits % levels).float().reshape(shape)


def _noise(shape: Shape, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _answer(call: Call, given: Tensor) -> Tensor | None:
    try:
        answer = call(given.clone())
    except Exception:  # whatever it is, it does not do this to such numbers
        return None
    return answer if isinstance(answer, Tensor) and not answer.is_complex() else None
