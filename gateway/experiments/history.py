"""The sequence so far, for plots: a bounded number of its looks, the older ones farther apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_POINTS = 240
FIRST_STRIDE = 10
"""Units between two points, at first; twice as many each time that there are too many points."""

Look = tuple[float, float | None, float | None]
"""Estimate, low and high; `None`: it has no end there."""


@dataclass(slots=True)
class History:
    """Units that were folded → treatment → what was known of it then."""

    stride: int = FIRST_STRIDE
    points: list[tuple[int, dict[str, Look]]] = field(default_factory=list)

    def note(self, units: int, looks: Mapping[str, Look]) -> None:
        """What is known now; kept when enough has come since the last point."""
        if self.points and units < self.points[-1][0] + self.stride:
            return
        self.points.append((units, dict(looks)))
        if len(self.points) > MOST_POINTS:
            self.stride *= 2
            self.points = self.points[::2]

    def written(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"stride": self.stride, "points": [[units, looks] for units, looks in self.points]}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> History:
        """What `written` made."""
        points = [(units, {arm: tuple(look) for arm, look in looks.items()}) for units, looks in document["points"]]
        return cls(document["stride"], points)
