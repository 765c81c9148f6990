"""The log of engine costs: lines in the order in which they were added, and when which of them holds. Pure.

A cost holds from its date to the next later date of its scope; of two with the same date, the one that was added last.
It is a chained log (`registry.chained_log`): a bill that was made with a version of it, such as `c4-1f0c9a3e`, is made
again with that, whatever was added since.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.backends import ENGINE_COST_LOCK
from registry.chained_log import ChainedLog
from registry.engine_costs.rows import EngineCostLine
from registry.engine_costs.terms import ENDED, WHILE_THERE
from registry.errors import InvalidInput

ENGINE, HOST, POOL = "engine", "host", "pool"
TRAINER, EVERY_ENGINE = "trainer", "*"
"""Scopes without a name: workers that train, and each engine that no other scope has a cost for."""
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class CostSaid:
    """What a line says, before it has a place in the log."""

    scope: str
    """`engine:ID`, `host:NAME`, `pool:NAME`, `trainer` or `*`."""
    kind: str
    """One of `registry.engine_costs.terms.Kind`."""
    nano_per_hour: int
    terms: Mapping[str, str]
    effective_from_ms: int
    correction: bool
    source: str
    actor: str


COST_LOG = ChainedLog(EngineCostLine, CostSaid, "c", "log of engine costs", "cost_version", ENGINE_COST_LOCK)
NOTHING = COST_LOG.nothing
"""The version of a log without lines."""


@dataclass(frozen=True, slots=True)
class HourlyCost:
    """A line of the log: what a scope costs an hour from a date on."""

    seq: int
    added_at_ms: int
    digest: str
    said: CostSaid

    @property
    def costs(self) -> bool:
        """Whether it is a cost, and not the end of one."""
        return self.said.kind != ENDED

    @property
    def while_there(self) -> bool:
        """Whether it costs only while an engine is there."""
        return self.said.kind in WHILE_THERE


@dataclass(frozen=True, slots=True)
class CostPeriod:
    """A line of a scope in `[from_ms, until_ms)`."""

    from_ms: int
    until_ms: int | None
    """`None`: until further notice."""
    line: HourlyCost


@dataclass(frozen=True, slots=True)
class CostLog:
    """The lines up to a version, in the order in which they were added."""

    lines: tuple[HourlyCost, ...] = ()

    @property
    def version(self) -> str:
        """Of these lines."""
        return COST_LOG.version_of(self.lines[-1].seq, self.lines[-1].digest) if self.lines else NOTHING

    @property
    def scopes(self) -> tuple[str, ...]:
        """Those that have a line."""
        return tuple(sorted({line.said.scope for line in self.lines}))

    def periods(self, scope: str) -> tuple[CostPeriod, ...]:
        """All costs of a scope, oldest first; times in which it had none are left out."""
        dates: dict[int, HourlyCost] = {}
        for line in self.lines:
            if line.said.scope == scope:
                dates[line.said.effective_from_ms] = line
        cuts = sorted(dates)
        ends: list[int | None] = [*cuts[1:], None] if cuts else []
        return tuple(
            CostPeriod(from_ms, until_ms, dates[from_ms])
            for from_ms, until_ms in zip(cuts, ends, strict=True)
            if dates[from_ms].costs
        )


def costs_between(periods: Sequence[CostPeriod], since_ms: int, until_ms: int) -> bool:
    """Whether any of them holds at some time in `[since_ms, until_ms)`."""
    return any(one.from_ms < until_ms and (one.until_ms is None or one.until_ms > since_ms) for one in periods)


def require_scope(scope: str) -> None:
    """Raises `InvalidInput` for what is no scope of a cost."""
    kind, found, name = scope.partition(":")
    if scope in (TRAINER, EVERY_ENGINE):
        return
    if not found or kind not in (ENGINE, HOST, POOL) or not name.strip() or len(name) > MAX_NAME_CHARS:
        raise InvalidInput(
            f"scope is {scope[:80]!r}; expected engine:ID, host:NAME, pool:NAME, trainer, or * for each engine that "
            "has no cost of its own (ids and hosts are in `switchyard engines list`)",
            param="scope",
        )
