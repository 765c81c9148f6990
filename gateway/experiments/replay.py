"""The controller's decisions made again from the stored units: on any machine they come out the same, or it is told.

What is made again: the analysis (from the units, in their order, up to what each decision had seen), the figures and
verdicts, and the decision. What is taken from the log: the clock, and the course of the experiment (its step, when that
began, what it had cost), which other tables have. Loads numpy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.experiments.analysis import STREAMS, Analysis, Shares
from gateway.experiments.decisions import Course, decide, figures
from registry.experiments.export import StoredUnit
from registry.experiments.infos import DecisionInfo
from registry.experiments.plan import Plan


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision of the controller; `differences` say what comes out otherwise than it is logged."""

    line: DecisionInfo
    differences: tuple[str, ...]


@dataclass(slots=True)
class _Streams:
    """Units in the four orders in which the analysis sees them."""

    exposed: list[StoredUnit]
    failed: list[StoredUnit]
    folded: list[StoredUnit]
    judged: list[StoredUnit]

    @classmethod
    def of(cls, units: Sequence[StoredUnit]) -> _Streams:
        return cls(
            sorted(units, key=lambda one: one.state.exposed_seq),
            sorted((one for one in units if one.state.failed_seq), key=lambda one: one.state.failed_seq or 0),
            sorted((one for one in units if one.state.folded_seq), key=lambda one: one.state.folded_seq or 0),
            sorted((one for one in units if one.state.judged_seq), key=lambda one: one.state.judged_seq or 0),
        )


@dataclass(slots=True)
class Replay:
    """Goes through a log from its beginning."""

    plan: Plan
    shares: Shares
    units: Sequence[StoredUnit]
    _streams: _Streams = field(init=False)
    _analysis: Analysis = field(init=False)

    def __post_init__(self) -> None:
        self._streams = _Streams.of(self.units)
        self._analysis = Analysis(self.plan, self.shares)

    def run(self, log: Sequence[DecisionInfo]) -> Iterator[Replayed]:
        """Every decision of the controller; what people decided is theirs."""
        for line in log:
            if "course" in line.figures:
                yield Replayed(line, self._differences_of(line))

    def _differences_of(self, line: DecisionInfo) -> tuple[str, ...]:
        try:
            return tuple(self._again(line))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            return (f"it cannot be made again, as something is not what was stored: {type(error).__name__}: {error}",)

    def _again(self, line: DecisionInfo) -> Iterator[str]:
        logged = line.figures
        cursor = logged["standing"]["cursor"]
        if lacking := self._advance(cursor):
            yield lacking
            return
        standing = self._analysis.standing()
        if standing.digest != line.inputs_digest:
            yield f"its inputs are {standing.digest}, not {line.inputs_digest}"
        course, clock_ms = Course(**logged["course"]), logged["clock_ms"]
        move = decide(self.plan, standing, course, clock_ms)
        if (move.kind, move.reason) != (line.kind, line.reason):
            yield f"it comes out as {move.kind}: {move.reason}"
        made = json.loads(json.dumps(figures(standing, course, clock_ms, move)))
        yield from _differences(made, logged, "figures")

    def _advance(self, cursor: Mapping[str, int]) -> str | None:
        """See what the decision had seen; says what is missing of it."""
        analysis, streams = self._analysis, self._streams
        for name in STREAMS:
            if (stored := len(getattr(streams, name))) < cursor[name]:
                return f"{cursor[name]} units had been {name}, and {stored} are stored"
        for one in streams.exposed[analysis.exposed : cursor["exposed"]]:
            analysis.expose(one.state)
        for one in streams.failed[analysis.failed : cursor["failed"]]:
            analysis.fail(one.state.failed_arm or "", one.state.failed_split_id or 0, one.state.unit_hash)
        for one in streams.folded[analysis.folded : cursor["folded"]]:
            analysis.fold(one.state, one.values)
        for one in streams.judged[analysis.judged : cursor["judged"]]:
            analysis.judge(one.state.unit_hash, one.state.judged or "")
        return None


def _differences(made: Any, logged: Any, path: str) -> Iterator[str]:
    """Where two documents differ, by name."""
    if isinstance(made, dict) and isinstance(logged, dict):
        for name in sorted(made.keys() | logged.keys()):
            yield from _differences(made.get(name), logged.get(name), f"{path}.{name}")
    elif made != logged:
        yield f"{path} comes out as {made!r}, not {logged!r}"
