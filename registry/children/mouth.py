"""The end of a child that has something to say. It imports nothing else of ours, so that it starts at once."""

from __future__ import annotations

import os

STDOUT, STDERR = 1, 2


class Mouth:
    """From now on it alone has the standard output; what libraries print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(STDOUT), "wb")
        os.dup2(STDERR, STDOUT)

    def say(self, lines: bytes) -> None:
        """Lines with their ends; now, not when there are more. Raises BrokenPipeError when nobody listens any more."""
        self._out.write(lines)
        self._out.flush()
