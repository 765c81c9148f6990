"""The last hour in steps of ten seconds, and the last day in steps of five minutes: plain numbers in the leader."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import add

from gateway.metrics.layout import IN_RINGS

FINE_S, COARSE_S = 10, 300
HOUR_S, DAY_S = 3_600, 86_400
Line = tuple[str, str]
"""Of what a cell is: `("all", "")`, `("endpoint", "chat")`, `("tenant", "acme")`, …"""
ALL: Line = ("all", "")


def new_cell() -> array[float]:
    """Nothing counted."""
    return array("d", bytes(8 * IN_RINGS))


@dataclass(slots=True)
class Level:
    """Something that goes up and down, as it was found now and then."""

    total: float = 0.0
    looks: int = 0

    def note(self, value: float) -> None:
        """One look."""
        self.total += value
        self.looks += 1

    @property
    def mean(self) -> float:
        """Over the looks."""
        return self.total / self.looks if self.looks else 0.0


@dataclass(slots=True)
class Slot:
    """What came in `FINE_S` or `COARSE_S` seconds."""

    number: int
    """Seconds since the epoch at which it begins, divided by its length."""
    cells: dict[Line, array[float]] = field(default_factory=dict)
    levels: dict[Line, Level] = field(default_factory=dict)
    """`("worker", id)`: requests in flight of a worker; `("engine", url)`: requests that wait in an engine."""
    loads: int = 0
    failed_loads: int = 0
    evictions: int = 0

    def add(self, lines: Sequence[Line], at: Sequence[int], by: Sequence[float]) -> None:
        """Count these numbers for each of these lines."""
        for line in lines:
            cell = self.cells.get(line)
            if cell is None:
                cell = self.cells[line] = new_cell()
            for place, number in zip(at, by, strict=True):
                if place < IN_RINGS:
                    cell[place] += number

    def level(self, line: Line) -> Level:
        """To note what is found."""
        found = self.levels.get(line)
        if found is None:
            found = self.levels[line] = Level()
        return found

    def fold(self, other: Slot) -> None:
        """What came in a shorter one comes in this one too."""
        for line, cell in other.cells.items():
            own = self.cells.get(line)
            self.cells[line] = cell[:] if own is None else array("d", map(add, own, cell))
        for line, level in other.levels.items():
            mine = self.level(line)
            mine.total += level.total
            mine.looks += level.looks
        self.loads += other.loads
        self.failed_loads += other.failed_loads
        self.evictions += other.evictions

    def sum_of_levels(self, kind: str) -> float:
        """Of all workers or engines, each with its mean."""
        return sum(level.mean for (what, _), level in self.levels.items() if what == kind)

    def copy(self) -> Slot:
        """One that does not change meanwhile."""
        return Slot(
            self.number,
            {line: cell[:] for line, cell in self.cells.items()},
            {line: Level(one.total, one.looks) for line, one in self.levels.items()},
            self.loads,
            self.failed_loads,
            self.evictions,
        )


class Ring:
    """The newest slots of one length; those in which nothing came are not there."""

    def __init__(self, slot_s: int, window_s: int) -> None:
        self.slot_s = slot_s
        self._slots: deque[Slot] = deque(maxlen=window_s // slot_s + 1)

    @property
    def newest(self) -> Slot | None:
        """The one that may still change."""
        return self._slots[-1] if self._slots else None

    def at(self, now_s: float) -> Slot:
        """The one of this moment, on a clock that is never put back."""
        number = int(now_s // self.slot_s)
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(Slot(number))
        return self._slots[-1]

    def since(self, from_s: float) -> list[Slot]:
        """Those that end after a moment, oldest first; the newest as a copy, as it may still change."""
        first = int(from_s // self.slot_s)
        found = [slot for slot in self._slots if slot.number >= first]
        return [*found[:-1], found[-1].copy()] if found else []


class Rings:
    """Both. What comes is counted in the fine one, whose slots are folded into the coarse one when they are over."""

    def __init__(self) -> None:
        self.fine, self._coarse = Ring(FINE_S, HOUR_S), Ring(COARSE_S, DAY_S)

    def at(self, now_s: float) -> Slot:
        """The slot of this moment."""
        before = self.fine.newest
        slot = self.fine.at(now_s)
        if before is not None and before is not slot:
            self._coarse.at(before.number * FINE_S).fold(before)
        return slot

    def since(self, from_s: float, window_s: int) -> tuple[int, list[Slot]]:
        """Seconds of a slot, and the slots that end after a moment, of which series of a window are made."""
        if window_s <= HOUR_S:
            return FINE_S, self.fine.since(from_s)
        slots, newest = self._coarse.since(from_s), self.fine.newest
        if newest is not None:
            number = newest.number * FINE_S // COARSE_S
            if not slots or slots[-1].number != number:
                slots.append(Slot(number))
            slots[-1].fold(newest)
        return COARSE_S, slots
