"""How many requests begin in one turn of the event loop.

Each is some tenths of a millisecond of this process before it first waits for anything. Hundreds that come at once, of
whoever opens so many connections, would be one turn in which no other tenant's answer moves. So few begin in a turn,
and the rest in the next ones, by turns of who sends them: nothing is lost by it, as a turn is as long as what is done
in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

IN_A_TURN = 2


class Starts:
    """Of one process."""

    __slots__ = ("_begun", "_lines")

    def __init__(self) -> None:
        self._begun = 0
        """In this turn."""
        self._lines: dict[str, deque[Callable[[], None]]] = {}
        """By who sends it, whose turn was longest ago first."""

    def may_begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether one more may begin at once, which then counts; else it is to `wait`."""
        if self._lines or self._begun == IN_A_TURN:
            return False
        if not self._begun:
            loop.call_soon(self._turn, loop)
        self._begun += 1
        return True

    def wait(self, who: str, start: Callable[[], None]) -> None:
        """Call this in its turn, soon."""
        line = self._lines.get(who)
        if line is None:
            line = self._lines[who] = deque()
        line.append(start)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        lines, self._begun = self._lines, 0
        while lines and self._begun < IN_A_TURN:
            who = next(iter(lines))
            line = lines.pop(who)
            start = line.popleft()
            if line:
                lines[who] = line
            self._begun += 1
            start()
        if self._begun:
            loop.call_soon(self._turn, loop)
