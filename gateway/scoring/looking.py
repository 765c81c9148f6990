"""The process that looks at answers (`child.py`), as its parent has it. It blocks: for a thread."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.complaints import Complaint
from gateway.scoring.child import HEAD
from gateway.tap import Tap
from registry.children.asked import AskedChild, ChildGone

DEADLINE_S = 60.0
"""For a group of answers; then the process is ended, and begun anew with the next group."""
COMMAND = (sys.executable, "-m", "gateway.scoring.child")
NICENESS = 10
GONE = Complaint(logging.getLogger("switchyard.scoring"))


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one answer."""

    found: dict[str, float]
    unscored: str | None
    """Why not all of it was looked at."""


NOTHING = Finding({}, "failed")


class Looking:
    """One process, while there is something to look at. Not for several threads at once."""

    def __init__(self) -> None:
        self.child = AskedChild(
            "what looks at answers", COMMAND, _environment, niceness=NICENESS, stderr=subprocess.DEVNULL
        )

    def look(self, taps: Sequence[Tap]) -> list[Finding]:
        """What is found in each. Of a group in which the process ended nothing is known."""
        if not taps:
            return []
        frames = b"".join(piece for tap in taps for piece in _frame(tap))
        try:
            said = self.child.ask(frames, len(taps), DEADLINE_S)
        except ChildGone as gone:
            GONE.report("answers were not looked at", gone)
            return [NOTHING for _ in taps]
        return [Finding(one["found"], one["unscored"]) for one in said]

    def rest(self) -> None:
        """End the process until there is something to look at again."""
        self.child.rest()

    def close(self) -> None:
        """End the process; no other is started."""
        self.child.close()


def _environment() -> dict[str, str]:
    """It knows nothing of ours: no settings, no keys."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def _frame(tap: Tap) -> tuple[bytes, ...]:
    checks = tap.target.checks
    head = orjson.dumps({"streamed": tap.streamed, "checks": None if checks is None else checks.declared})
    return HEAD.pack(len(head), sum(map(len, tap.chunks))), head, *tap.chunks
