"""Neurons: the one kind of node that has weights and fires."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np

from snn_runtime.graph.kind import NodeKind, Project
from snn_runtime.graph.projection import Projection
from snn_runtime.graph.values import (
    EXACT_BOUND,
    INPUT,
    FloatArray,
    Numbers,
    Shape,
    Weights,
    check_events,
    check_floats,
    check_weight,
    checked_bound,
    reach,
    refuse,
)

if TYPE_CHECKING:
    from snn_runtime.graph.nodes import Visitor

T = TypeVar("T")
MAX_LEVELS = 15
"""Thresholds of a neuron: it sends a number of at most four bits."""


@dataclass(frozen=True, eq=False)
class Population(NodeKind):
    """Neurons that sum their projections and send a spike for each threshold the current exceeds.

    value = current[n, o] = Σ_p (W_p ∗ s_p)[n, o]        sent = Σ_k [current > θ_k]

    Most have one threshold, so that what they send is 0 or 1. With K *levels* it is 0 to K.
    """

    name: str
    projections: tuple[Projection, ...]
    threshold: FloatArray
    """θ, `[O]`, half-integers for int8 weights; or `[K, O]`, K ≥ 2 levels, none below the last one.
    Where a projection reads the image it may be one a position, `[O, H, W]`: what an integer offset
    leaves of a mean is missing where padding is."""
    fires: ClassVar[bool] = True

    @property
    def levels(self) -> int:
        """K: thresholds of a neuron, and the largest number that it sends."""
        return len(self.threshold) if self.threshold.ndim == 2 else 1

    @property
    def channels(self) -> int:
        return len(self.projections[0].weight)

    @property
    def comparands(self) -> tuple[FloatArray, ...]:
        """Each level's θ as currents are compared with it: `[1, O]`, `[1, O, 1, 1]` or
        `[1, O, H, W]`."""
        if self.threshold.ndim == 3:
            return (self.threshold[np.newaxis],)
        column = (1, -1, *(1,) * (self.projections[0].weight.ndim - 2))
        return tuple(theta.reshape(column) for theta in np.atleast_2d(self.threshold))

    @property
    def fan_in(self) -> tuple[tuple[str, int], ...]:
        return tuple((p.source, p.fan_in) for p in self.projections)

    def shape(self, shapes: Mapping[str, Shape], exact: bool) -> Shape:
        if not self.projections:
            raise refuse(self.name, "has no projection")
        results = {p.shape(self.name, shapes) for p in self.projections}
        if len(results) != 1:
            raise refuse(self.name, f"projections of different shapes {sorted(results)}")
        for projection in self.projections:
            check_weight(self.name, projection.weight, exact)
        shape = results.pop()
        self._check_threshold(shape, exact)
        return shape

    def bound(self, sent: Mapping[str, int], exact: bool) -> int:
        furthest = sum(reach(p.weight) * sent[p.source] for p in self.projections)
        bound = checked_bound(self.name, float(np.max(furthest)), exact)
        check_events(self.name, sum(n * sent[s] for s, n in self.fan_in if s != INPUT))
        return bound

    def compute(
        self, sent: Mapping[str, Numbers], project: Project = Projection.current
    ) -> Numbers:
        current, *others = (project(p, sent[p.source]) for p in self.projections)
        for other in others:
            current = current + other
        return current

    def send(self, value: Numbers) -> Numbers:
        comparands = self.comparands
        if value.dtype == np.int64:
            # θ = k + ½, so current > θ exactly where current > k: the comparison is of integers.
            comparands = tuple(np.floor(theta).astype(np.int64) for theta in comparands)
        first, *others = ((value > theta).astype(value.dtype) for theta in comparands)
        return sum(others, first)

    def largest(self, bound: int) -> int:
        return self.levels

    @property
    def schema(self) -> int:
        return {1: 1, 2: 4, 3: 2}[self.threshold.ndim]

    def describe(self) -> list[list[object]]:
        more = [["levels", self.levels]] if self.levels > 1 else []
        positions = self.threshold.shape[1:] if self.threshold.ndim == 3 else ()
        projections = (p.describe() for p in self.projections)
        return [["population", self.name, *positions], *more, *projections]

    @property
    def arrays(self) -> tuple[Weights | FloatArray, ...]:
        return (*(p.weight for p in self.projections), self.threshold)

    def accept(self, visitor: "Visitor[T]") -> T:
        return visitor.population(self)

    def _check_threshold(self, shape: Shape, exact: bool) -> None:
        theta, expected = self.threshold, str(shape[:1])
        levels = theta.ndim == 2 and theta.shape[1:] == shape[:1]
        fits = theta.shape == shape[:1] or (levels and 2 <= len(theta) <= MAX_LEVELS)
        # Engines compare with a threshold a channel; only what they make of pixels has positions.
        if any(p.source == INPUT for p in self.projections) and math.prod(shape[1:]) > 1:
            expected += f" or {shape}"
            fits |= theta.shape == shape
        if not fits or theta.dtype != np.float32:
            expected += f", or ({shape[0]},) at each of 2 to {MAX_LEVELS} levels"
            problem = f"thresholds are {theta.dtype}{theta.shape}, expected {expected}"
            raise refuse(self.name, problem)
        check_floats(self.name, "threshold", theta)
        if exact and (np.abs(theta) > EXACT_BOUND / 2).any():
            raise refuse(self.name, "a threshold is beyond ±2^23, where half-integers end")
        if exact and (theta % 1 != 0.5).any():
            raise refuse(self.name, "thresholds are not half-integers")
        if levels and (np.diff(theta, axis=0) < 0).any():
            raise refuse(self.name, "a threshold is below that of the level before")
