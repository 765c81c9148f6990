"""How much an engine turns out to run at once, whatever it was started with. Pure.

An engine that nobody has described runs fewer requests than we think, and one with long prompts runs out of cache
before it runs as many as it was started for. Then requests wait in it, where whoever came first is served first. So
a look that finds some waiting takes half of them from it, and the next one, if it runs no more by then, all but one:
it never has nothing to do, and what waits in it is first come first served for two looks. When it has what it may and
none waits, it gets an eighth more.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.engines.look import Look

FEW = 1
"""That so many wait says nothing: they may just have come."""


def fitted(before: int, bound: int, running: int, waiting: int, *, full: bool = False) -> int:
    """What an engine gets at a time after a look at it, 1 to `bound`; `before` is what it got until then. `full`: the
    look before found some waiting too, and it runs no more than then.
    """
    if waiting > FEW:
        return max(1, min(before, running + (FEW if full else waiting - waiting // 2)))
    if not waiting and running >= before:
        return min(bound, before + before // 8 + 1)
    return min(before, bound)


@dataclass(slots=True)
class Capacity:
    """Of one engine."""

    bound: int
    """What it was started with, as far as anybody says."""
    most: int
    look: Look | None = None
    """The newest that was taken in."""

    def take(self, look: Look | None) -> int:
        """Take a look in, if it is new; what the engine gets at a time."""
        if look is None or look is self.look:
            return self.most
        last, self.look = self.look, look
        if last is not None and look.boot != last.boot:
            self.most, last = self.bound, None
        full = last is not None and last.waiting > FEW and look.running <= last.running
        self.most = fitted(self.most, self.bound, look.running, look.waiting, full=full)
        return self.most
