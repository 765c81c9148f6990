"""What follows from where an experiment stands. Pure: the same plan, standing, course and clock give the same decision.

In this order; the first that applies is it:

0. the control is quarantined, so that nothing can be rolled back to: a person is asked
   what was decided could not be carried out: tried again after a while; a ramp that failed three times → harm
   a treatment is quarantined → harm
1. broken: a treatment fails too often to be chance → harm
2. mismatch: arms did not get the units that were planned, so that nothing else can be believed → harm
3. guardrail: one is crossed for certain → harm
4. worse: a treatment is worse on the primary metric by more than its margin, for certain → harm
5. spent: days, units or dollars are used up → won if it has, else inconclusive
6. next step of the ramp, when this one has lasted and has seen enough. A step that leaves the control nothing is
   taken only when a treatment has won: after it nothing more can be found out
7. at the ramp's end: won → promote or ask, by policy

Else it holds, and says what for: an alarm, if a person should look meanwhile. Harm is a rollback or a pause, by policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.experiments.inference.verdicts import Verdict
from gateway.experiments.standing import Standing
from registry.days import DAY_MS
from registry.experiments.plan import Plan
from registry.experiments.windows import WINDOW
from registry.money import NANO
from registry.splits.rows import BASE

DWELLS = "dwells"
"""The code of a hold that ends by the clock: the step has not lasted as long as it is to."""
MOST_FAILURES = 3
"""So often in a row a decision may fail to be carried out."""
FIRST_PAUSE_MS, LATER_PAUSE_MS = 5_000, 30_000
"""Before a decision that failed is tried again: one that averts harm, and any other. After `MOST_FAILURES` the pause
doubles with each, `MOST_DOUBLINGS` times at most, as each adds two lines to the log.
"""
MOST_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class Course:
    """How far the experiment is, and what it has used: what a decision needs beside the analysis."""

    step: int
    stepped_at_ms: int
    started_at_ms: int
    split: int
    """The id of the split that runs."""
    spent_nano: int = 0
    """What its treatments' answers have cost. Copies have a budget of their own, and a judge is paid for elsewhere."""
    skew: str = ""
    """Says that one unit is too much of the traffic, if it is."""
    held: bool = False
    """Whether a person decides, as it is paused or inconclusive: only a broken treatment is taken out then."""
    gate: str = ""
    """Why the alias's gate does not let a treatment pass, if it does not."""
    failures: int = 0
    """How often the last decision could not be carried out, in a row."""
    failed_at_ms: int = 0
    failed: str = ""
    """Its kind, and why."""
    quarantined: Mapping[str, str] = field(default_factory=dict)
    """Arm → why no engine may have it."""


@dataclass(frozen=True, slots=True)
class Move:
    """What follows. `kind` is one of the log's; `code` says why, in a word that does not change with figures."""

    kind: str
    code: str
    reason: str
    arm: str | None = None
    next_at_ms: int | None = None
    """When something may follow by the clock alone."""


def decide(plan: Plan, standing: Standing, course: Course, now_ms: int) -> Move:
    """The one decision of this moment."""
    move = _decide(plan, standing, course, now_ms)
    return _with_alarms(move, standing, course) if move.kind == "hold" else move


def _decide(plan: Plan, standing: Standing, course: Course, now_ms: int) -> Move:
    why = course.quarantined.get(plan.arms[0])
    if course.held:
        broken = None if why else next(_broken(plan, standing), None)
        return broken or _hold("held", "a person decides on it")
    if why is not None:
        text = f"{plan.arms[0]}, the control, is quarantined: {why}"
        return Move("ask", "quarantined", f"{text}; promote a treatment, release the control, or stop with --keep")
    harm = next(_harms(plan, standing, course), None)
    doubled = 2 ** min(max(course.failures - MOST_FAILURES, 0), MOST_DOUBLINGS)
    retry_ms = course.failed_at_ms + (FIRST_PAUSE_MS if harm else LATER_PAUSE_MS) * doubled
    if course.failures and now_ms < retry_ms:
        return _hold("retries", f"{course.failed}; it is tried again", retry_ms)
    if harm is not None:
        return harm
    winner = _winner(plan, standing)
    if (spent := _spent(plan, standing, course, now_ms)) is not None:
        return _won(plan, standing, course, winner) if winner else Move("inconclusive", "spent", spent)
    dwells_until = course.stepped_at_ms + plan.ramp[course.step].dwell_s * 1000
    if now_ms < dwells_until:
        text = f"step {course.step + 1} of {len(plan.ramp)} lasts a while longer"
        return _hold(DWELLS, f"{text}; {_so_far(plan, standing)}", dwells_until)
    if (lacking := _lacking(plan, standing, course)) > 0:
        them = f"{plan.counted}{'s' * (lacking > 1)}"
        text = f"waits for {lacking} more {them} on {_names(plan)} at {_percent(plan, course.step)}"
        return _hold("units", f"{text}; {_so_far(plan, standing)}")
    if course.step + 1 < len(plan.ramp):
        return _ramp(plan, standing, course, winner)
    if winner is not None:
        return _won(plan, standing, course, winner)
    return _hold("undecided", _so_far(plan, standing))


def _broken(plan: Plan, standing: Standing) -> Iterator[Move]:
    for arm, broken in standing.breakers.items():
        if broken.open:
            them = f"{plan.counted}{'s' * (broken.candidate > 1)}"
            text = f"{arm} failed {broken.candidate} {them} while {plan.arms[0]} failed {broken.control}"
            why = "most requests of a window" if plan.unit == WINDOW else "by its part of the traffic that is no chance"
            yield Move(plan.on_harm, "broken", f"{text}: {why}", arm)


def _harms(plan: Plan, standing: Standing, course: Course) -> Iterator[Move]:
    kind = plan.on_harm
    for arm, why in course.quarantined.items():
        yield Move(kind, "quarantined", f"{arm} is quarantined, so no engine may have it: {why}", arm)
    if course.failures >= MOST_FAILURES:
        yield Move(kind, "cannot load", f"{course.failures} times in a row: {course.failed}")
    yield from _broken(plan, standing)
    if standing.ratio_alarms:
        got = ", ".join(f"{arm} {count}" for arm, count in standing.units.items())
        text = f"arms did not get the {plan.counted}s that were planned ({got}): something loses or moves them"
        yield Move(kind, "mismatch", f"{text}, so no comparison can be believed")
    for by_arm in standing.guardrails.values():
        for arm, verdict in by_arm.items():
            if verdict.word == "worse":
                yield Move(kind, "guardrail", verdict.text, arm)
    for arm, verdict in standing.primary.items():
        if _ends(plan, verdict)[1] < -plan.metric.margin:
            yield Move(kind, "worse", f"{plan.metric.name}: {verdict.text}", arm)


def _ends(plan: Plan, verdict: Verdict) -> tuple[float, float]:
    """The interval, turned so that more is better."""
    low = float("-inf") if verdict.low is None else verdict.low
    high = float("inf") if verdict.high is None else verdict.high
    return (low, high) if plan.metric.direction == "higher" else (-high, -low)


def _winner(plan: Plan, standing: Standing) -> str | None:
    """Of the treatments that win for certain and harm nothing for certain, the one that is better by most at least."""
    fit = [arm for arm, verdict in standing.primary.items() if _ends(plan, verdict)[0] > -plan.metric.margin]
    fit = [arm for arm in fit if not list(_unproven(standing, arm))]
    return max(fit, key=lambda arm: _ends(plan, standing.primary[arm])[0], default=None)


def _unproven(standing: Standing, arm: str) -> Iterator[str]:
    """What is not known to be harmless of a treatment, a sentence each."""
    for by_arm in standing.guardrails.values():
        if (verdict := by_arm.get(arm)) is None or verdict.word != "non_inferior":
            yield verdict.text if verdict is not None else "a guardrail has no values"
    for by_arm in standing.missing.values():
        if (verdict := by_arm.get(arm)) is not None and verdict.word == "worse":
            yield verdict.text


def _spent(plan: Plan, standing: Standing, course: Course, now_ms: int) -> str | None:
    budget, met = plan.budget, sum(standing.units.values())
    used = None
    if now_ms >= course.started_at_ms + budget.days * DAY_MS:
        used = f"{budget.days:g} days are over"
    elif met >= budget.units:
        used = f"{met} {plan.counted}s have been in it, and {budget.units} is the most"
    elif budget.dollars is not None and course.spent_nano >= budget.dollars * NANO:
        used = f"it has cost {course.spent_nano / NANO:.2f} dollars, and {budget.dollars:g} is the most"
    return None if used is None else f"{used}, and nothing is certain: {_so_far(plan, standing)}"


def _won(plan: Plan, standing: Standing, course: Course, winner: str) -> Move:
    told = _told(plan, standing, winner)
    if plan.on_win == "ask" or winner == BASE:
        return Move("ask", "won", f"{told}: it has won; a person decides", winner)
    if course.gate:
        return Move("ask", "gate", f"{told}, but {course.gate}", winner)
    return Move("promote", "won", told, winner)


def _ramp(plan: Plan, standing: Standing, course: Course, winner: str | None) -> Move:
    step = course.step + 1
    if plan.ramp[step].percent >= 100:
        if winner is None:
            return _hold("undecided", f"{_so_far(plan, standing)}; only a winner gets all of the traffic")
        if plan.on_win == "ask" or winner == BASE:
            return _won(plan, standing, course, winner)
    get = f"{_names(plan)} get{'s' * (len(plan.treatments) == 1)} {_percent(plan, step)}"
    text = f"{get}: step {course.step + 1} did no harm; {_so_far(plan, standing)}"
    return Move("ask", "gate", f"{text}; but {course.gate}") if course.gate else Move("ramp", "ramp", text)


def _hold(code: str, text: str, next_at_ms: int | None = None) -> Move:
    return Move("hold", code, text, None, next_at_ms)


def _with_alarms(move: Move, standing: Standing, course: Course) -> Move:
    """The same, or an alarm when a person should look."""
    alarms = [("one unit is too much", course.skew)] if course.skew else []
    for metric, by_arm in standing.missing.items():
        alarms += [(f"{metric} is missing", one.text) for one in by_arm.values() if one.word == "worse"][:1]
    if not alarms:
        return move
    code = ", ".join([move.code, *(code for code, _ in alarms)])
    reason = "; ".join([*(text for _, text in alarms), move.reason])
    return Move("alarm", code, reason, None, move.next_at_ms)


def _lacking(plan: Plan, standing: Standing, course: Course) -> int:
    return plan.ramp[course.step].min_units - standing.on_split.get(str(course.split), 0)


def _so_far(plan: Plan, standing: Standing) -> str:
    """What is known of every treatment, and what keeps those from winning that would."""
    if not standing.primary:
        return "nothing is known of them yet"
    told = []
    for arm in standing.primary:
        text = _told(plan, standing, arm)
        if _ends(plan, standing.primary[arm])[0] > -plan.metric.margin:
            text = "; ".join([text, *list(_unproven(standing, arm))[:1]])
        told.append(text)
    return "; ".join(told)


def _told(plan: Plan, standing: Standing, arm: str) -> str:
    text = f"{plan.metric.name}: {standing.primary[arm].text}"
    return f"{text}; {standing.joint[arm].text}" if arm in standing.joint else text


def _names(plan: Plan) -> str:
    return " and ".join(plan.treatments)


def _percent(plan: Plan, step: int) -> str:
    return f"{plan.ramp[step].percent:g} %"


def figures(standing: Standing, course: Course, now_ms: int, move: Move) -> dict[str, Any]:
    """What the log keeps of a decision, so that it can be made again."""
    return {
        "code": move.code,
        "arm": move.arm,
        "clock_ms": now_ms,
        "course": {name: getattr(course, name) for name in Course.__slots__},
        "standing": standing.document,
    }
