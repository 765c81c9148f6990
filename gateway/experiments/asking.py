"""The parent's side of the analyst: a child process, alone with numpy, that is asked one question at a time.

One that is gone, or does not answer in time, is followed by another: what it knows it has from the database, so nothing
is lost with it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import orjson

from registry.children.asked import AskedChild
from registry.children.environment import without_settings

COMMAND = (sys.executable, "-m", "gateway.experiments.analyst")
NICENESS = 5
"""Requests go first."""
STARTS_WITHIN_S = 120.0
"""It imports numpy, some seconds of a processor, and has what others leave: to end one that others hold up would
be to begin that again and again, and nothing would be decided for as long as the machine is busy.
"""


class Analyst:
    """At most one child. Every method blocks, so call them in a thread, one at a time."""

    def __init__(self) -> None:
        self.child = AskedChild("the analyst", COMMAND, _environment, niceness=NICENESS)

    def ask(self, question: Mapping[str, Any], within_s: float) -> dict[str, Any]:
        """What the analyst answers, within so long of its start; one is started if none runs. Raises `ChildGone`."""
        if self.child.process is None:
            self.child.ask(b"", 1, STARTS_WITHIN_S)  # its first word says that it reads
        (answer,) = self.child.ask(orjson.dumps(question) + b"\n", 1, within_s)
        found: dict[str, Any] = answer
        return found

    def rest(self) -> None:
        """End the child, if one runs, until there is a question again."""
        self.child.rest()

    def close(self) -> None:
        """End the child, if one runs: what it had not finished is not in the database. No other is started."""
        self.child.close()


def _environment() -> dict[str, str]:
    """One processor for its arithmetic."""
    return {**without_settings(), **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
