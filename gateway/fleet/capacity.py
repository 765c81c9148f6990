"""How much an engine turns out to run at once, whatever it was started with. Pure.

An engine with long prompts runs out of cache before it runs as many as it was started for. Then requests wait in it,
where whoever came first is served first. So a look that finds some waiting takes half of them from it, and the next
one, if it runs no more by then, all but one: it never has nothing to do, and what waits in it is first come first
served for two looks. When it has what it may and none waits, it gets an eighth more. Where only those of its seats are
free that are kept (`room.py`), it is tried with more only `CALM` looks after one has found some waiting: what begins
then takes what was kept.

One that nobody has described begins with few (`room.UNKNOWN`), as a flood would fill its queue before the first look,
or with what the first look finds running in it: who has just begun to look has not begun what runs there.
It gets twice as many with each look at which it has what it may, until some have waited in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.engines.look import Look
from gateway.fleet.room import kept

FEW = 1
"""That so many wait says nothing: they may just have come."""
CALM = 30
"""Looks, of which there is one a second."""
MOST = 1024
"""An engine of which nobody says how many it runs gets no more: vLLM's default on the largest GPUs."""


def fitted(
    before: int, bound: int, running: int, waiting: int, *, full: bool = False, kept: int = 0, untried: bool = False
) -> int:
    """What an engine gets at a time after a look at it, 1 to `bound`; `before` is what it got until then. `full`: the
    look before found some waiting too, and it runs no more than then. `kept`: so many of its seats may be free, and yet
    it has what it may. `untried`: nobody knows what it runs, and none has ever waited in it.
    """
    if waiting > FEW:
        return max(1, min(before, running + (FEW if full else waiting - waiting // 2)))
    if not waiting and running >= before - kept:
        return min(bound, 2 * before if untried else before + before // 8 + 1)
    return min(before, bound)


@dataclass(slots=True)
class Capacity:
    """Of one engine."""

    bound: int
    """What it was started with, as far as anybody says."""
    first: int
    """What it gets on a new boot: as many, or few where nobody says anything."""
    kept_share: float = 0.0
    """The part of its seats that is kept."""
    calm: int = CALM
    """Looks since one has found some waiting, as far as it matters."""
    look: Look | None = None
    """The newest that was taken in."""
    most: int = field(init=False)
    """What it gets at a time."""
    tried: bool = field(init=False)
    """Whether some have waited in it on this boot, or it was known from the beginning what it runs."""

    def __post_init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.most, self.tried = self.first, self.first == self.bound

    def take(self, look: Look | None) -> int:
        """Take a look in, if it is new; what the engine gets at a time."""
        if look is None or look is self.look:
            return self.most
        last, self.look = self.look, look
        if last is not None and look.boot != last.boot:
            last = None
            self._begin_anew()
        if last is None and not self.tried:
            self.most = min(self.bound, max(self.most, look.running))
        full = last is not None and last.waiting > FEW and look.running <= last.running
        self.calm = 0 if look.waiting > FEW else min(self.calm + 1, CALM)
        self.tried = self.tried or not self.calm
        spare = kept(self.most, self.kept_share) if self.calm == CALM else 0
        self.most = fitted(
            self.most, self.bound, look.running, look.waiting, full=full, kept=spare, untried=not self.tried
        )
        return self.most
