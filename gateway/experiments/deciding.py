"""Decisions of one term: read where an experiment stands, decide, and have it carried out in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from gateway.experiments.clock import SteadyClock
from gateway.experiments.decisions import Course, Move, decide, figures
from gateway.experiments.standing import Standing
from registry.db import now_ms
from registry.errors import Conflict, GateClosed
from registry.experiments.carrying import EXPERIMENT
from registry.experiments.infos import HELD, Decision, DecisionInfo, ExperimentInfo
from registry.service import Registry
from registry.swaps.infos import FAILED, PRELOADING, REQUESTED, VERIFIED

log = logging.getLogger("switchyard.experiments")
NOT_FLIPPED = (REQUESTED, PRELOADING, VERIFIED)
LOOKED_BACK = 20
"""Lines of the log that are read before a decision."""
TAKEN_BACK = "taken back"
"""Begins what is said of a ramp that was given up for harm: that is no failure of it."""
HARMFUL, QUIET = ("rollback", "pause"), ("hold", "alarm")


class Decider:
    """Blocking: call it in a thread."""

    def __init__(self, registry: Registry, token: int, clock: SteadyClock | None = None) -> None:
        self._registry = registry
        self._token = token
        self._clock = clock or SteadyClock()

    def decide(self, experiment_id: int) -> DecisionInfo | None:
        """What was decided, if anything that the log does not say already.

        What somebody else decides meanwhile wins: the next look begins with that.
        """
        info = self._registry.experiments.get(experiment_id)
        if info.ended_at_ms is not None or info.standing is None:
            return None
        past = self._registry.experiments.decisions(info.id, max(0, info.decisions - LOOKED_BACK))
        standing = Standing.of(info.standing["standing"])
        course, at_ms = self._on_time(info, course_of(self._registry, info, past))
        move = decide(info.plan, standing, course, at_ms)
        if info.moving:
            if move.kind in HARMFUL:
                self._take_back_ramp(info, move.reason)
            return None
        if move.kind in QUIET and (course.held or _is_known(move, info, past)):
            return None
        if course.held and move.kind != "rollback":  # it is paused already
            return None
        with suppress(Conflict):
            try:
                return self._record(info, standing, course, at_ms, move)
            except GateClosed as closed:
                course = replace(course, gate=str(closed))
                return self._record(info, standing, course, at_ms, decide(info.plan, standing, course, at_ms))
        return None

    def _on_time(self, info: ExperimentInfo, course: Course) -> tuple[Course, int]:
        """The course, and a clock by which its step and its last failure are as old as they are in truth."""
        if info.stepped_at_ms is None:
            return course, now_ms()
        at_ms = info.stepped_at_ms + self._clock.age_ms(("step", info.id), info.stepped_at_ms)
        if course.failures:
            failed_at_ms = at_ms - self._clock.age_ms(("failed", info.id), course.failed_at_ms)
            course = replace(course, failed_at_ms=failed_at_ms)
        return course, at_ms

    def _record(self, info: ExperimentInfo, standing: Standing, course: Course, at_ms: int, move: Move) -> DecisionInfo:
        decision = Decision(
            move.kind,  # type: ignore[arg-type]
            move.reason,
            figures(standing, course, at_ms, move),
            standing.digest,
            arm=move.arm if move.kind == "promote" else None,
        )
        made = self._registry.experiments.decide(info.id, decision, fence=self._token, expected={info.etag})
        log.info("experiment %d: %s: %s", info.id, made.kind, made.reason)
        return made

    def _take_back_ramp(self, info: ExperimentInfo, reason: str) -> None:
        """Fail the ramp that is under way, unless it has flipped: the next look decides on what is then."""
        assert info.swap_id is not None
        swap = self._registry.swaps.get(info.swap_id)
        if swap.detail[EXPERIMENT]["kind"] != "ramp" or swap.state not in NOT_FLIPPED:
            return
        error = f"{TAKEN_BACK}: {reason}"[:1000]
        with suppress(Conflict):  # it has ended meanwhile
            self._registry.swaps.advance(swap.id, FAILED, fence=self._token, error=error)


def course_of(registry: Registry, info: ExperimentInfo, past: Sequence[DecisionInfo]) -> Course:
    """How far one is that has a standing; `past` are the last lines of its log."""
    failures = _failures(past)
    skew = registry.skews.alarming(info.splits[-1]) if info.splits else None
    return Course(
        step=max(info.step, 0),
        stepped_at_ms=info.stepped_at_ms or 0,
        started_at_ms=info.started_at_ms or 0,
        split=info.splits[-1] if info.splits else 0,
        spent_nano=(info.standing or {}).get("spent_nano", 0),
        skew=str(skew) if skew is not None else "",
        held=info.state in HELD,
        failures=len(failures),
        failed_at_ms=failures[-1].at_ms if failures else 0,
        failed=failures[-1].reason if failures else "",
        quarantined={arm.name: arm.quarantined for arm in info.arms if arm.quarantined is not None},
    )


def _failures(past: Sequence[DecisionInfo]) -> list[DecisionInfo]:
    """The last decisions that could not be carried out, in a row, oldest first."""
    found: list[DecisionInfo] = []
    for line in reversed(past):
        if line.kind == "failed" and TAKEN_BACK not in line.reason:
            found.append(line)
        elif line.kind in QUIET or (found and line.swap_id == found[-1].swap_id):
            continue
        else:
            break
    return found[::-1]


def _is_known(move: Move, info: ExperimentInfo, past: Sequence[DecisionInfo]) -> bool:
    """Whether the log says already that this step holds for this reason."""
    here = [line for line in past if line.step == info.step and line.kind in QUIET]
    return any(line.figures.get("code") == move.code for line in here)
