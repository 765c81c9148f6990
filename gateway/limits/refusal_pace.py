"""How fast a tenant hears that it is refused for its own load.

A refusal costs a fraction of a millisecond, and who does not back off sends the next request when it has heard: on a
hundred connections that is all that a worker does. So a tenant hears so many a second at once; one more waits for its
turn, about a second, without its body, and its connection is not read meanwhile. Nothing that is served waits, and
nobody else's refusals.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger("switchyard.refusals")
TOO_MUCH = 429
"""The status of what is refused for its tenant's own load."""
BURST_S = 1.0
"""Of which all refusals may be heard at once."""
LATE_S = 1.0
"""What one too many waits about, as long as fewer than `MOST_PER_S` do; then so many are heard in a second."""
MOST_PER_S = 200.0
LOG_EVERY_S = 10.0
HoldBack = Callable[[Callable[[], None] | None], None]
"""Takes what to call when the client goes, and the answer comes late from then on; `None`: it comes now."""


class Paced:
    """One tenant's refusals. Pure: `now_s` is the caller's clock.

    Of n that wait, one is heard after every n-th part of `LATE_S`: so they are spread, however many came at once.
    """

    __slots__ = ("_interval_s", "due_s", "waiting")

    def __init__(self, per_s: float) -> None:
        self._interval_s = 1 / per_s
        self.due_s = 0.0
        """When the last of them is heard, and as many as may be at once have been waited for."""
        self.waiting = 0

    def late_s(self, now_s: float) -> float:
        """Seconds that one more refusal has to wait; 0: it is heard at once."""
        waiting = self.waiting + 1
        interval_s = min(self._interval_s, max(LATE_S / waiting, 1 / MOST_PER_S))
        most_s = 2 * max(LATE_S, waiting / MOST_PER_S)  # clients that leave would else make later ones wait for ever
        self.due_s = min(max(self.due_s, now_s) + interval_s, now_s + BURST_S + most_s)
        return max(0.0, self.due_s - now_s - BURST_S)


class RefusalPace:
    """Of one process. A tenant that is quiet is forgotten."""

    def __init__(self, per_s: float, count: Callable[[], None]) -> None:
        """`per_s`: refusals of one tenant in a second that are heard at once; `count` is told of each other one."""
        self._per_s = per_s
        self._count = count
        self._tenants: dict[str, Paced] = {}
        self._slowed: Counter[str] = Counter()
        """By tenant, since the last line in the log."""

    async def take(self, tenant: str, hold_back: HoldBack) -> bool:
        """Return when a refusal of this tenant may be heard, or its client is gone, or the server stops; whether it
        has waited.
        """
        paced, loop = self._tenants.get(tenant), asyncio.get_running_loop()
        if paced is None:
            paced = self._tenants[tenant] = Paced(self._per_s)
            loop.call_later(BURST_S, self._look, tenant)
        late_s = paced.late_s(time.monotonic())
        if not late_s:
            return False
        self._note(tenant)
        turn = loop.create_future()

        def end() -> None:
            if not turn.done():
                turn.set_result(None)

        timer = loop.call_later(late_s, end)
        paced.waiting += 1
        hold_back(end)
        with suppress(asyncio.CancelledError):  # the server stops: it is heard now
            await turn
        timer.cancel()
        paced.waiting -= 1
        hold_back(None)
        return True

    def tell(self) -> None:
        """Say in the log what was slowed since the last time."""
        slowed, self._slowed = self._slowed, Counter()
        tenant, most = slowed.most_common(1)[0]
        log.warning(
            "%d refusals were answered late in %g s, as their tenants do not back off; %d of them to %s",
            slowed.total(), LOG_EVERY_S, most, tenant,
        )  # fmt: skip

    def _note(self, tenant: str) -> None:
        self._count()
        if not self._slowed:
            asyncio.get_running_loop().call_later(LOG_EVERY_S, self.tell)
        self._slowed[tenant] += 1

    def _look(self, tenant: str) -> None:
        paced = self._tenants[tenant]
        if paced.waiting or paced.due_s > time.monotonic():
            asyncio.get_running_loop().call_later(BURST_S, self._look, tenant)
        else:
            del self._tenants[tenant]
