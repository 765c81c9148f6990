"""What strangers do is told of together: a line in the log for each time would be theirs to write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

EVERY_S = 10.0
MOST_ADDRESSES = 4_096
"""That are counted apart; more are `others`."""
Seen = Counter[tuple[str, str]]
"""By what it was, and the address that it came from."""


class ToldTogether:
    """Of one process. `tell` is called once in `EVERY_S` in which there was something."""

    def __init__(self, tell: Callable[[Seen], object]) -> None:
        self.seen: Seen = Counter()
        """Since it was told last."""
        self._tell = tell

    def note(self, what: str, address: str) -> None:
        """Once more."""
        if not self.seen:
            asyncio.get_running_loop().call_later(EVERY_S, self.tell)
        self.seen[what, address if len(self.seen) < MOST_ADDRESSES else "others"] += 1

    def tell(self) -> None:
        """Now."""
        seen, self.seen = self.seen, Counter()
        if seen:
            self._tell(seen)
