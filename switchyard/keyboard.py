"""Single keys of whoever is at the keyboard; where input is no terminal, the first word of each line is one."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

ESCAPES = {
    "\x1b[A": "↑",
    "\x1b[B": "↓",
    "\x1b[C": "→",
    "\x1b[D": "←",
    "\x1bOA": "↑",
    "\x1bOB": "↓",
    "\x1bOC": "→",
    "\x1bOD": "←",
}
NAMED = {"\x7f": "⌫", "\x08": "⌫", "\x03": "q", "\x04": "q", "\x1b": "q"}
MOST_BYTES = 64


class Keyboard:
    """As a context manager, so that a terminal is afterwards as it was before."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None
        self._waiting: list[str] = []

    def __enter__(self) -> Keyboard:
        if sys.stdin.isatty():
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)  # what was typed before counts
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            import termios

            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)

    def read(self) -> str | None:
        """The next key: a letter in small, or `←`, `→`, `↑`, `↓`, `⌫`; None at the end of the input. Ctrl-C is `q`."""
        if self._before is None:
            return self._read_line()
        if not self._waiting:
            try:
                self._waiting = keys_of(os.read(sys.stdin.fileno(), MOST_BYTES).decode(errors="replace"))
            except KeyboardInterrupt:
                return "q"
        return self._waiting.pop(0) if self._waiting else None

    def _read_line(self) -> str | None:
        line = sys.stdin.readline()
        return (line.split() or [""])[0].lower() if line else None


def keys_of(typed: str) -> list[str]:
    """What was typed, key by key; sequences that mean nothing here are none."""
    found, at = [], 0
    while at < len(typed):
        if typed[at : at + 3] in ESCAPES:
            found.append(ESCAPES[typed[at : at + 3]])
            at += 3
        elif typed[at] == "\x1b" and at + 1 < len(typed):
            at = _end_of_sequence(typed, at)
        else:
            found.append(NAMED.get(typed[at], typed[at].lower()))
            at += 1
    return found


def _end_of_sequence(typed: str, at: int) -> int:
    at += 2
    while at < len(typed) and not typed[at - 1].isalpha() and typed[at - 1] != "~":
        at += 1
    return at
