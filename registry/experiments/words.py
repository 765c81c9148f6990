"""A plan in sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

from registry.experiments.metrics import AUTOMATIC
from registry.experiments.plan import Plan
from registry.experiments.plan_parts import Audience, Guardrail, Step
from registry.experiments.windows import WINDOW

_UNITS = {
    "conversation": "conversation",
    "end_user": "end user that requests name, else conversation",
    "request": "request",
    "window": "window of time",
}
_ENDS = {
    ("on_win", "promote"): "it is promoted",
    ("on_win", "ask"): "it waits for you",
    ("on_harm", "rollback"): "all traffic goes back to {control}",
    ("on_harm", "pause"): "it pauses and waits for you",
}


def plan_said(plan: Plan, adapter: str, alias: str) -> Iterator[str]:
    """What the experiment will do; `adapter` is `tenant/adapter`."""
    treatments = ", ".join(plan.treatments)
    them = "it" if len(plan.treatments) == 1 else "them"
    yield f"{treatments} against {plan.control}, for the traffic of {adapter}@{alias}"
    yield f"ramp: {' → '.join(_step(step, plan.counted) for step in plan.ramp)}"
    yield f"what stays together: the {_UNITS[plan.unit]}; {_audience(plan.audience)}{_holdout(plan)}"
    if plan.unit == WINDOW:
        yield from _windows(plan)
    yield f"wins by: {_judged(plan) if plan.judged else _goal(plan)}"
    yield f"how sure: {them} would win wrongly in at most {100 * plan.alpha:g} % of experiments, whenever one looks"
    yield from _copies(plan)
    yield f"guarded by: {', '.join(_guard(one) for one in plan.guardrails) or 'nothing'}"
    yield f"when {them} wins: {_ENDS['on_win', plan.on_win]}; on harm: {_harm(plan)}"
    if plan.fallback == "control":
        yield f"where {them} cannot be loaded, {plan.control} answers, and it counts for the treatment"
    yield f"ends without a verdict after {_budget(plan)}"


def duration(seconds: float) -> str:
    """As `90 s`, `15 min`, `2 h`, `14 days`."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds == size and unit != "days"):
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _step(step: Step, counted: str) -> str:
    least = [duration(step.dwell_s)] if step.dwell_s else []
    least += [f"{step.min_units} {counted}s"] if step.min_units else []
    return f"{step.percent:g} %" + (f" ({' and '.join(least)})" if least else "")


def _audience(audience: Audience) -> str:
    if audience.everybody:
        return "everybody is in it"
    parts = [f"{audience.percent:g} % of them"] if audience.percent < 100 else []
    parts += [f"by keys {', '.join(audience.keys)}"] if audience.keys else []
    parts += [f"with metadata {key} {' or '.join(values)}" for key, values in audience.metadata.items()]
    return f"in it: {', '.join(parts)}"


def _holdout(plan: Plan) -> str:
    return f"; {plan.holdout_percent:g} % are held out of all experiments" if plan.holdout_percent else ""


def _windows(plan: Plan) -> Iterator[str]:
    """What it means that windows are the units."""
    assert plan.window_s is not None
    yield (
        f"windows of {duration(plan.window_s)}: all that comes in one has one arm, drawn anew for each; its first "
        f"{duration(plan.settle_s or 0)} count for nothing; conversations and people go from arm to arm"
    )
    known = AUTOMATIC.get(plan.metric.name)
    if known is None or known.source != "usage":
        yield (
            f"note: {plan.metric.name} is said or found of answers, and a conversation that goes on in the next window "
            "may have both arms; windows are for times and loads: for quality let conversations be the units"
        )


def _goal(plan: Plan) -> str:
    metric = plan.metric
    if metric.margin > 0:
        asked = f"at most {metric.margin:g} worse"
    else:
        asked = f"better by more than {-metric.margin:g}" if metric.margin else "better"
    return f"{metric.name} {asked} ({metric.direction} is better), {duration(metric.window_s)} of each {plan.counted}"


def _judged(plan: Plan) -> str:
    assert plan.shadow is not None
    least = 100 * (0.5 - plan.metric.margin)
    return f"more than {least:g} % of the pairs of answers that {plan.shadow.judge} decides, one pair of each unit"


def _copies(plan: Plan) -> Iterator[str]:
    if plan.shadow is not None:
        yield f"copies: {plan.shadow.percent:g} % of the requests go to {plan.copied_to} too, whose answers nobody gets"


def _guard(guard: Guardrail) -> str:
    margin = f"{100 * guard.margin:g} %" if guard.relative else f"{guard.margin:g}"
    return f"{guard.metric} at most {margin} worse"


def _harm(plan: Plan) -> str:
    return _ENDS["on_harm", plan.on_harm].format(control=plan.control)


def _budget(plan: Plan) -> str:
    budget = plan.budget
    dollars = "" if budget.dollars is None else f", or ${budget.dollars:g}"
    return f"{budget.days:g} days, or {budget.units} {plan.counted}s{dollars}"
