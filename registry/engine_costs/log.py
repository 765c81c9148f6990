"""The log of engine costs: lines in the order in which they were added, and when which of them holds. Pure.

A cost holds from its date to the next later date of its scope; of two with the same date, the one that was added last.
The lines up to one have a version, `c<seq>-<8 hex digits>` of the digest of the last of them, which is over all before
it: a bill that was made with a version is made again with it, whatever was added since.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from registry.engine_costs.terms import ENDED, WHILE_THERE
from registry.errors import InvalidInput, NotFound
from registry.storage.blobs import canonical_json, digest_of

ENGINE, HOST, POOL = "engine", "host", "pool"
TRAINER, EVERY_ENGINE = "trainer", "*"
"""Scopes without a name: workers that train, and each engine that no other scope has a cost for."""
NOTHING = "c0"
"""The version of a log without lines."""
MAX_NAME_CHARS = 200
_VERSION = re.compile(r"c([0-9]{1,18})(?:-([0-9a-f]{8}))?")


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


@dataclass(frozen=True, slots=True)
class CostLine:
    """A line of the log."""

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
    line: CostLine


@dataclass(frozen=True, slots=True)
class CostLog:
    """The lines up to a version, in the order in which they were added."""

    lines: tuple[CostLine, ...] = ()

    @property
    def version(self) -> str:
        """Of these lines."""
        return version_of(self.lines[-1]) if self.lines else NOTHING

    @property
    def scopes(self) -> tuple[str, ...]:
        """Those that have a line."""
        return tuple(sorted({line.said.scope for line in self.lines}))

    def periods(self, scope: str) -> tuple[CostPeriod, ...]:
        """All costs of a scope, oldest first; times in which it had none are left out."""
        dates: dict[int, CostLine] = {}
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

    def cut(self, version: str) -> CostLog:
        """As it was at a version. Raises `NotFound` for one that it never had."""
        form = _VERSION.fullmatch(version)
        seq = int(form[1]) if form else -1
        if version == NOTHING:
            return CostLog()
        if not 0 < seq <= len(self.lines) or version_of(self.lines[seq - 1]) != version:
            raise NotFound(
                f"cost_version is {version[:40]!r}, which this log of engine costs never had; the newest is "
                f"{self.version}, and a bill names the one that it was made with",
                param="cost_version",
            )
        return CostLog(self.lines[:seq])

    def faults(self) -> Iterator[str]:
        """What is wrong with it, a sentence each; none when nobody has touched it."""
        previous = ""
        for number, line in enumerate(self.lines, 1):
            if line.seq != number:
                yield f"line {number} of the log of engine costs is missing"
                return
            if digest_after(previous, line.seq, line.added_at_ms, line.said) != line.digest:
                yield f"line {number} of the log of engine costs is not what was written: its digest is another one"
            previous = line.digest


def version_of(line: CostLine) -> str:
    """The version of the log that ends with a line."""
    return f"c{line.seq}-{line.digest.removeprefix('sha256:')[:8]}"


def digest_after(previous: str, seq: int, added_at_ms: int, said: CostSaid) -> str:
    """The digest of a line with all before it, whose last has `previous`."""
    return digest_of(canonical_json({**asdict(said), "seq": seq, "added_at_ms": added_at_ms, "previous": previous}))


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
