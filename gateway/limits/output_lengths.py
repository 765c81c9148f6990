"""How long a model's answers get: what a request under limits that names no `max_tokens` is held for, and gets as one.

Answers are counted by length for each tenant's adapter, and each tenant's use of a base, in buckets of which each is a
quarter longer than the last. The bound is the upper edge of the bucket that the 99th percentile lies in. A bucket does
not hold its upper edge, so an answer that was cut at its bound counts as longer than the bound, in the next bucket:
otherwise the estimate would be made of answers that it has cut itself, and sink for ever.

Counted are answers to chat requests for one answer: of several an engine tells only the sum. While the gateway runs,
those of requests under limits that named no `max_tokens` are; at its start all that the ledger has, which does not know
what was named. Older answers fade.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable

from sqlalchemy.exc import SQLAlchemyError

from gateway.handoffs import Usage
from registry.days import DAY_MS
from registry.db import now_ms
from registry.ledger.output_lengths import LengthCount

log = logging.getLogger("switchyard.output_lengths")
RATIO = 1.25
LONGEST = 2_000_000
TAIL = 0.01
"""The share of answers that may reach the bound."""
FEWEST = 100
"""With fewer answers nothing is known about their tail."""
MOST = 1_000
"""With so many, all counts are halved: what a model does now outweighs what it did."""
LEDGER_MS = 30 * DAY_MS

Key = tuple[str, str]
"""A tenant, and `tenant/adapter` or a base's name."""


def _edges() -> tuple[int, ...]:
    edges = [1]
    while edges[-1] < LONGEST:
        edges.append(max(edges[-1] + 1, int(edges[-1] * RATIO)))
    return tuple(edges)


EDGES = _edges()
"""Bucket i holds lengths from EDGES[i - 1] up to EDGES[i], without that one."""


class Lengths:
    """The answers of one model. `longest` is the most tokens that a prompt and its answer had together."""

    __slots__ = ("_counts", "_top", "answers", "longest")

    def __init__(self) -> None:
        self._counts = [0.0] * len(EDGES)
        self._top = 0
        self.answers = 0.0
        self.longest = 0

    def add(self, tokens: int, whole: int, answers: float = 1) -> None:
        """Count answers of `tokens` tokens, `whole` with their prompt."""
        place = min(bisect_right(EDGES, tokens), len(EDGES) - 1)
        self._counts[place] += answers
        if place > self._top:
            self._top = place
        self.answers += answers
        if whole > self.longest:
            self.longest = whole

    def scale(self, factor: float) -> None:
        """Make all counts weigh less."""
        self._counts = [count * factor for count in self._counts]
        self.answers *= factor

    def include(self, other: Lengths) -> None:
        """Count what another one has counted."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self._top = max(self._top, other._top)
        self.answers += other.answers
        self.longest = max(self.longest, other.longest)

    def bound(self) -> int:
        """The least edge that at most one answer in a hundred has reached."""
        allowed = self.answers * TAIL
        for place in range(self._top, -1, -1):
            allowed -= self._counts[place]
            if allowed < 0:
                return EDGES[place]
        return EDGES[0]


class OutputLengths:
    """Every model of this process."""

    def __init__(self, default: int) -> None:
        """`default` is the bound of models of which little is known; every engine's context must hold it."""
        self._default = default
        self._models: dict[Key, Lengths] = {}

    def bound(self, tenant: str, model: str) -> int:
        """The bound of an answer, in tokens.

        It is no more than `default` or what an engine was seen to hold, because engines refuse a bound that is larger
        than their context.
        """
        lengths = self._models.get((tenant, model))
        if lengths is None or lengths.answers < FEWEST:
            return self._default
        return min(lengths.bound(), max(lengths.longest, self._default))

    def observe(self, tenant: str, model: str, usage: Usage) -> None:
        """Count one whole answer."""
        key = (tenant, model)
        lengths = self._models.get(key)
        if lengths is None:
            lengths = self._models[key] = Lengths()
        tokens = usage.completion_tokens or 0
        lengths.add(tokens, tokens + (usage.prompt_tokens or 0))
        if lengths.answers >= MOST:
            lengths.scale(0.5)

    async def seed(self, count: Callable[[int], Iterable[LengthCount]]) -> None:
        """Add what the ledger knows; `count` reads it since an instant, blocking."""
        try:
            known = await asyncio.to_thread(lambda: _weighed(count(now_ms() - LEDGER_MS)))
        except SQLAlchemyError as error:
            log.warning("max_tokens is the default until answers have been seen: %s", error)
            return
        for key, lengths in known.items():
            if (seen := self._models.setdefault(key, lengths)) is not lengths:
                seen.include(lengths)


def _weighed(counts: Iterable[LengthCount]) -> dict[Key, Lengths]:
    """By model, none of which weighs more than what has just faded."""
    models: dict[Key, Lengths] = {}
    for one in counts:
        models.setdefault((one.tenant, one.model), Lengths()).add(one.tokens, one.longest, one.answers)
    for lengths in models.values():
        if lengths.answers > MOST / 2:
            lengths.scale(MOST / 2 / lengths.answers)
    return models
