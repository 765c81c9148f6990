"""Prices of APIs that somebody asks a gateway to compare with, and that the price log does not have."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from threading import Lock

from registry.children.asked import ChildGone, ask_once
from registry.children.environment import environment_of
from registry.service import Registry

log = logging.getLogger("switchyard.cost")
COMMAND = ("nice", "-n10", sys.executable, "-m", "registry.prices.looking_up")
WITHIN_S = 30.0
AGAIN_S = 600.0
"""After which a name that nobody knew is looked up again."""
MOST_REMEMBERED = 1_000


class LookUps:
    """Of one process, which must not load the package that has the prices: a child does, and what it finds it writes
    into the log. It blocks: for a thread.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._asked_s: dict[str, float] = {}
        self._one_at_a_time = Lock()

    def look_up(self, names: Iterable[str], price_version: str | None) -> None:
        """Take what is known of those that the log does not have; what nobody knows, or cannot be looked up now, stays
        unknown. A price version is asked with what it had.
        """
        if price_version is not None:
            return
        with self._one_at_a_time:
            known = set(self._registry.baselines.names())
            wanted = [name for name in dict.fromkeys(names) if name not in known and self._is_due(name)]
            if wanted:
                self._take(wanted)

    def _is_due(self, name: str) -> bool:
        asked_s = self._asked_s.get(name)
        return asked_s is None or time.monotonic() - asked_s >= AGAIN_S

    def _take(self, names: list[str]) -> None:
        for name in names:
            self._asked_s.pop(name, None)
            self._asked_s[name] = time.monotonic()
        while len(self._asked_s) > MOST_REMEMBERED:
            del self._asked_s[next(iter(self._asked_s))]
        command, environment = (*COMMAND, *names), environment_of(self._registry)
        try:
            said = ask_once("the look-up", command, b"", within_s=WITHIN_S, environment=environment)
        except ChildGone as gone:
            log.warning("prices of %s could not be looked up: %s", ", ".join(names), gone)
            return
        for line in said.decode(errors="replace").splitlines()[-20:]:
            log.info("%s", line)
