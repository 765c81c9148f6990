"""Simulated units: five shapes of outcomes, in four patterns of traffic, many runs (lanes) at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arms = NDArray[np.int64]
RAMP = (0.05, 0.25, 0.5, 0.9)
"""The treatment's share in each quarter of a ramp."""
DRIFT = 1.25
"""How much larger values are at the end of a ramp than at its beginning: quality that rises from .60 to .75."""
MORE_TURNS, MOST_TURNS = 5.0, 16
"""Turns of a conversation after its first: how many there are on average, and the most of all."""
ALIKE = 0.5
"""The part of turns' variance that all turns of a conversation share."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A distribution. `rate`: chance of a 1; else lognormal with `sigma`, whole numbers and 0 in a part of `zeros`."""

    name: str
    rate: float | None = None
    sigma: float = 1.0
    zeros: float = 0.0

    @property
    def span(self) -> float | None:
        """The most that two values can differ by."""
        return None if self.rate is None else 1.0

    @property
    def effect(self) -> float:
        """A difference between arms, for coverage: two points, or a tenth of the mean."""
        return 0.02 if self.rate is not None else 0.1 * (1 - self.zeros) * math.exp(self.sigma**2 / 2)

    def values(
        self, noise: NDArray[Any], chance: np.random.Generator, arms: Arms, level: float
    ) -> tuple[Floats, Floats]:
        """Of standard normal noise: values without a difference between arms, and with `effect`."""
        if self.rate is not None:
            ends = [NormalDist().inv_cdf(self.rate * level + by) for by in (0.0, self.effect)]
            without, with_it = noise < ends[0], noise < np.where(arms, ends[1], ends[0])
            return without.astype(np.float64), with_it.astype(np.float64)
        alike: Floats = np.exp(self.sigma * noise).astype(np.float64) * level
        if self.zeros:
            alike = np.ceil(alike) * (chance.random(len(arms), dtype=np.float32) >= self.zeros)
        return alike, alike + self.effect * arms


SHAPES = (
    Shape("rate of 5 %", rate=0.05),
    Shape("rate of 50 %", rate=0.5),
    Shape("lognormal, σ = 1", sigma=1.0),
    Shape("lognormal, σ = 2", sigma=2.0),
    Shape("count, 70 % zeros, σ = 1.5", sigma=1.5, zeros=0.7),
)


@dataclass(frozen=True, slots=True)
class Pattern:
    """How traffic comes: the treatment's shares, one after the other, drift, and whether units have several turns."""

    name: str
    shares: tuple[float, ...]
    drift: float = 1.0
    conversations: bool = False


PATTERNS = (
    Pattern("constant split", (0.5,)),
    Pattern("ramp with drift", RAMP, DRIFT),
    Pattern("conversations", (0.5,), conversations=True),
    Pattern("canary of 5 %", (0.05,)),
)


@dataclass(frozen=True, slots=True)
class Units:
    """One unit in each lane: its arm, and the count, the sum and the sum of squares of its turns, without a difference
    between arms and with one.
    """

    shares: tuple[float, float]
    arms: Arms
    turns: NDArray[np.int64]
    alike: tuple[Floats, Floats]
    apart: Floats
    """The sum with a difference."""


def units_of(shape: Shape, pattern: Pattern, count: int, lanes: int, seed: list[int]) -> Iterator[Units]:
    """So many units in each lane, in their order."""
    chance = np.random.default_rng(seed)
    for number in range(count):
        share = pattern.shares[number * len(pattern.shares) // count]
        level = 1 + (pattern.drift - 1) * number / count
        arms = (chance.random(lanes, dtype=np.float32) < share).astype(np.int64)
        more = chance.poisson(MORE_TURNS, lanes) if pattern.conversations else np.zeros(lanes, np.int64)
        turns = np.minimum(1 + more, MOST_TURNS)
        total, squares, apart = np.zeros(lanes), np.zeros(lanes), np.zeros(lanes)
        common = chance.standard_normal(lanes, dtype=np.float32) if pattern.conversations else 0.0
        for turn in range(int(turns.max())):
            noise = chance.standard_normal(lanes, dtype=np.float32)
            if pattern.conversations:
                noise = math.sqrt(ALIKE) * common + math.sqrt(1 - ALIKE) * noise
            value, other = shape.values(noise, chance, arms, level)
            here = turn < turns
            total, squares, apart = total + here * value, squares + here * value * value, apart + here * other
        yield Units((1 - share, share), arms, turns, (total, squares), apart)
