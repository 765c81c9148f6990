"""Versions that one engine refuses and others prove: it is not given them for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_BAR_S, LAST_BAR_S = 15.0, 300.0
"""Such a version is loaded elsewhere for so long, and then for twice as long each time."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Why a version is not loaded on an engine, until when (`time.monotonic()`), and how long that is in seconds."""

    reason: str
    until_s: float
    pause_s: float


class Bars:
    """Of one engine, during one boot of it."""

    def __init__(self) -> None:
        self._bars: dict[int, Bar] = {}

    def reason(self, version_id: int) -> str | None:
        """Why a version is not loaded here now; `None` when it may be."""
        bar = self._bars.get(version_id)
        return bar.reason if bar is not None and bar.until_s > time.monotonic() else None

    def all(self) -> dict[int, tuple[str, float]]:
        """Version id → why it is not loaded here, and for how many more seconds."""
        now = time.monotonic()
        return {key: (bar.reason, bar.until_s - now) for key, bar in self._bars.items() if bar.until_s > now}

    def add(self, version_id: int, reason: str) -> None:
        """Load a version elsewhere for a while."""
        before = self._bars.get(version_id)
        pause_s = min(LAST_BAR_S, 2 * before.pause_s) if before is not None else FIRST_BAR_S
        self._bars[version_id] = Bar(reason, time.monotonic() + pause_s, pause_s)

    def clear(self) -> None:
        """The engine has booted anew."""
        self._bars.clear()
