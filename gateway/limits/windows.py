"""What a scope has spent by UTC day and month: by this process from its begin on, and by others as the ledger says.

An attempt belongs to the window in which it began, here as in the ledger. Clocks are set forward and back, and a window
that was left may come again: so windows are kept, and are never made anew while somebody may still count in them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Literal

from registry.days import DAY_MS, day_of, month_of
from registry.limits.spending import Spent

Name = Literal["daily", "monthly"]
KEPT_S = 3 * DAY_MS / 1000
"""How long a window is kept after it was left. A clock that is wrong for longer is no mishap."""


def bounds_of(name: Name, at_ms: int) -> tuple[int, int]:
    """Begin and end of the window that an instant is in."""
    return day_of(at_ms) if name == "daily" else month_of(at_ms)


class Window:
    """One day or month. `nano` and `tokens` are this process's; `others` are those of other processes, by the writer of
    their journals, as the ledger had them last.
    """

    __slots__ = ("ends_ms", "known", "left_s", "name", "nano", "others", "starts_ms", "tokens")

    def __init__(self, name: Name, at_ms: int) -> None:
        self.name = name
        self.starts_ms, self.ends_ms = bounds_of(name, at_ms)
        self.nano = self.tokens = 0
        self.others: Mapping[str, Spent] = {}
        self.known = False
        """Whether the ledger was asked what others have spent."""
        self.left_s = time.monotonic()
        """When it was the running one last."""

    def read(self, others: Mapping[str, Spent]) -> None:
        """Take what the ledger says."""
        self.others, self.known = others, True

    def spent(self) -> Spent:
        """By all processes, as far as it is known here."""
        return sum(self.others.values(), Spent(self.nano, self.tokens))


class Tally:
    """What the attempts of one scope came to in this process, limited or not: it may be limited tomorrow."""

    __slots__ = ("_kept", "counter", "day", "month")

    def __init__(self, at_ms: int) -> None:
        self._kept: dict[tuple[Name, int], Window] = {}
        self.counter: Counts | None = None
        """What obeys limits of this scope, and must hear of what is spent."""
        self.day = self.window("daily", at_ms)
        self.month = self.window("monthly", at_ms)

    def window(self, name: Name, at_ms: int) -> Window:
        """The window that an instant is in."""
        key = (name, bounds_of(name, at_ms)[0])
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = Window(name, at_ms)
        return found

    def roll(self, at_ms: int) -> None:
        """Have `day` and `month` be those of this instant, later or earlier."""
        now_s = time.monotonic()
        self.day.left_s = self.month.left_s = now_s
        self.day, self.month = self.window("daily", at_ms), self.window("monthly", at_ms)
        self.day.left_s = self.month.left_s = math.inf
        for key in [key for key, window in self._kept.items() if window.left_s < now_s - KEPT_S]:
            del self._kept[key]

    def spend(self, started_at_ms: int, at_ms: int, nano: int, tokens: int) -> None:
        """Count an attempt that has ended, and began at `started_at_ms`."""
        day, month = self.day, self.month
        if not day.starts_ms <= at_ms < day.ends_ms:
            self.roll(at_ms)
            day, month = self.day, self.month
        if not day.starts_ms <= started_at_ms < day.ends_ms:
            day, month = self.window("daily", started_at_ms), self.window("monthly", started_at_ms)
        day.nano += nano
        day.tokens += tokens
        month.nano += nano
        month.tokens += tokens


class Counts:
    """What counts in a tally's place."""

    __slots__ = ()

    def spend(self, started_at_ms: int, at_ms: int, nano: int, tokens: int) -> None:
        """As `Tally.spend`."""
        raise NotImplementedError
