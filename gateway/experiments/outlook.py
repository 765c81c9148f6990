"""Where an experiment stands, for people: what was found, in words and figures, and what comes next. Knows no numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.experiments.breaker import acts_at
from gateway.experiments.deciding import LOOKED_BACK, course_of
from gateway.experiments.decisions import Move, decide
from gateway.experiments.inference.sample_ratio import ALARM
from gateway.experiments.inference.several import shared_alpha
from gateway.experiments.inference.verdicts import Unit
from gateway.experiments.metric_units import is_rate, is_relative
from gateway.experiments.standing import Standing
from registry.days import when
from registry.db import now_ms
from registry.experiments.infos import DecisionInfo, ExperimentInfo
from registry.experiments.windows import WINDOW
from registry.experiments.words import duration
from registry.service import Registry

LATE_MS = 120_000
"""The analysis takes in what is new every other second; when it has not for so long, it does not run."""


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What one arm had so far."""

    name: str
    share: int | None
    """In 1/10,000 of the units now; None before the start and after the end."""
    units: int
    """That have met it."""
    judged: int
    """Whose value is known and counts."""
    failed: int
    moved: int
    """Units that a change of weights has taken away from it."""
    fallbacks: int
    """Units that another arm has answered in its place."""
    requests: int
    cost_nano: int


@dataclass(frozen=True, slots=True)
class Look:
    """What was known of the primary metric after so many units; `low` and `high` are None where it has no end."""

    units: int
    estimate: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SequenceTold:
    """The primary metric's difference to the control over the experiment, by treatment."""

    metric: str
    unit: Unit
    """`points`: a difference of rates, 0.02 are two points; `percent`: of the control's value; `plain`: as it is."""
    direction: str
    margin: float
    """The difference at which a treatment is as much worse as it may be."""
    sure: float
    """With which probability every interval of a treatment is right, all together."""
    looks: Mapping[str, tuple[Look, ...]]


@dataclass(frozen=True, slots=True)
class EvidenceTold:
    """Evidence that something is wrong; where it acts by itself, at the logarithm `acts_at`."""

    of: str
    """`sample ratio`: that arms did not get the units that were planned. Else a treatment: that it fails more often."""
    log_e: float
    acts_at: float | None
    """None: it acts as soon as the treatment has failed more windows than the control."""
    acts: bool
    failed: tuple[int, int] | None
    """Units that the treatment has failed, and the control; None of the sample ratio."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """One experiment, now."""

    info: ExperimentInfo
    standing: Standing | None
    """None: nothing is known yet."""
    move: Move | None
    """What would follow now; None where nothing is decided."""
    log: tuple[DecisionInfo, ...]
    """The end of it."""
    late_since_ms: int | None = None
    """When what waits longest for the analysis had ended, if that does not run; milliseconds since the epoch."""

    @property
    def late(self) -> str | None:
        """That the analysis does not run, and where to look; None: it does, or has nothing to do."""
        if self.late_since_ms is None:
            return None
        return (
            f"nothing is decided: what its arms have met since {when(self.late_since_ms)} is not analysed yet; the "
            "leader's duty 'experiments' fails or is far behind (switchyard fleet, and its log)"
        )

    @property
    def arms(self) -> list[ArmFigures]:
        """The control first."""
        return list(_arms(self.info))

    @property
    def findings(self) -> list[str]:
        """What is known, a sentence each."""
        return list(_findings(self.info, self.standing))

    @property
    def evidence(self) -> list[EvidenceTold]:
        """The sample ratio, and each treatment's breaker; nothing before anything is known."""
        return list(_evidence(self.info, self.standing))

    @property
    def following(self) -> str:
        """What comes next, and when."""
        return self.late or _following(self.info, self.move)

    @property
    def sequence(self) -> SequenceTold:
        """For a plot."""
        plan = self.info.plan
        metric = plan.metric
        return SequenceTold(
            metric.name,
            _unit_of(self.info),
            metric.direction,
            metric.margin if metric.direction == "lower" else -metric.margin,
            1 - shared_alpha(plan.alpha, len(plan.treatments)),
            {arm: tuple(_looks(self.info, arm)) for arm in plan.treatments},
        )


def outlook_of(registry: Registry, info: ExperimentInfo) -> Outlook:
    """Of an experiment as it was just read."""
    log = tuple(registry.experiments.decisions(info.id, max(0, info.decisions - LOOKED_BACK)))
    at_ms = now_ms()
    late_since_ms = late_since(registry, info, at_ms)
    if info.standing is None:
        return Outlook(info, None, None, log, late_since_ms)
    standing = Standing.of(info.standing["standing"])
    move = None
    if info.state == "running":
        move = decide(info.plan, standing, course_of(registry, info, log), at_ms)
    return Outlook(info, standing, move, log, late_since_ms)


def late_since(registry: Registry, info: ExperimentInfo, at_ms: int) -> int | None:
    """When what waits longest for the analysis had ended, if that is long ago and the experiment is under way."""
    if info.started_at_ms is None or info.ended_at_ms is not None:
        return None
    since_ms = registry.experiments.analysis.waiting_since(info.id)
    return since_ms if since_ms is not None and at_ms - since_ms > LATE_MS else None


def _unit_of(info: ExperimentInfo) -> Unit:
    plan, known = info.plan, info.standing or {}
    if is_relative(plan, plan.metric.name):
        return "percent"
    said: Mapping[str, bool] = known.get("analysis", {}).get("comparisons", {}).get("rates", {})
    rate = plan.judged or is_rate(plan.metric.name) or said.get(plan.metric.name, False)
    return "points" if rate else "plain"


def _arms(info: ExperimentInfo) -> Iterator[ArmFigures]:
    known = info.standing or {}
    standing: Mapping[str, Any] = known.get("standing", {})
    for arm in info.plan.arms:
        of: Mapping[str, int] = known.get("counts", {}).get(arm, {})
        yield ArmFigures(
            arm,
            info.weights.get(arm, 0) if info.weights else None,
            standing.get("units", {}).get(arm, 0),
            standing.get("folded", {}).get(arm, 0),
            of.get("failed_units", 0),
            of.get("moved", 0),
            of.get("fallbacks", 0),
            of.get("attempts", 0),
            of.get("cost_nano", 0),
        )


def _findings(info: ExperimentInfo, standing: Standing | None) -> Iterator[str]:
    if standing is None:
        yield "nothing is known yet"
        return
    if info.plan.unit == WINDOW:
        yield f"units are windows of {duration(info.plan.window_s or 0)}, in which all traffic has one arm"
    for arm, verdict in standing.primary.items():
        yield f"{info.plan.metric.name}: {verdict.text}"
        if arm in standing.joint:
            yield standing.joint[arm].text
    for by_arm in standing.guardrails.values():
        yield from (f"guardrail {verdict.text}" for verdict in by_arm.values())
    for by_arm in standing.strata.values():
        yield from (verdict.text for verdict in by_arm.values())
    for by_arm in standing.missing.values():
        yield from (verdict.text for verdict in by_arm.values() if verdict.word == "worse")
    yield from standing.notes


def _evidence(info: ExperimentInfo, standing: Standing | None) -> Iterator[EvidenceTold]:
    if standing is None:
        return
    yield EvidenceTold("sample ratio", standing.ratio_log_e, ALARM, standing.ratio_alarms, None)
    at = None if info.plan.unit == WINDOW else acts_at(len(info.plan.treatments))
    for arm, one in standing.breakers.items():
        yield EvidenceTold(arm, one.log_e, at, one.open, (one.candidate, one.control))


def _following(info: ExperimentInfo, move: Move | None) -> str:
    if info.moving:
        return f"swap {info.swap_id} carries out the last decision"
    if move is None and info.state == "running":
        return "nothing is decided before the first look at what its arms have met"
    if move is None:
        ended = info.ended_at_ms is not None
        return "it has ended" if ended else "nothing is decided before somebody says so"
    at = f" (at {when(move.next_at_ms)} at the earliest)" if move.next_at_ms is not None else ""
    return f"next: {move.kind}: {move.reason}{at}"


def _looks(info: ExperimentInfo, arm: str) -> Iterator[Look]:
    history = (info.standing or {}).get("analysis", {}).get("history", {}).get("points", ())
    for units, looks in history:
        if arm in looks:
            yield Look(units, *looks[arm])
