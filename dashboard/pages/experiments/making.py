"""A new experiment: a form, what it would do in sentences, what it would come to on the traffic that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.components import figures
from dashboard.faults import Fault, Invalid
from dashboard.web import actor_of, admin_of, done, form_of, render

SIMULATED_S = 130.0
"""That a simulation may take."""
UNITS = (
    ("conversation", "conversations"),
    ("end_user", "end users that requests name"),
    ("request", "requests"),
    ("window", "windows of time"),
)
ON_WIN = (("", "promote it; of base, ask"), ("promote", "promote it"), ("ask", "ask a person"))
ON_HARM = (("rollback", "roll back"), ("pause", "pause and wait for a person"))
DIRECTIONS = (("", "as the metric has it"), ("higher", "higher is better"), ("lower", "lower is better"))
METRICS = (
    "errors",
    "latency_ms",
    "latency_p95",
    "ttft_ms",
    "ttft_p95",
    "completion_tokens",
    "cost",
    "refusal",
    "empty",
    "repetition",
    "truncation",
    "conformance",
)
"""That are measured by themselves; any other is one that feedback brings."""
EMPTY = {
    "alias": "production",
    "unit": "conversation",
    "metric": "errors",
    "on_harm": "rollback",
}
NUMBERS = {"margin": ("metric", "margin"), "days": ("budget", "days"), "dollars": ("budget", "dollars")}
"""Fields with a number → where they stand in a plan."""


def plan_of(form: Mapping[str, str]) -> dict[str, Any]:
    """The plan that a filled form means; what is left open is the gateway's to choose. Raises `Invalid`."""
    plan: dict[str, Any] = {"treatments": _words(form.get("treatments", ""))}
    if not plan["treatments"]:
        raise Invalid("Name what is tried, such as 1.1.", field="treatments")
    metric: dict[str, Any] = {"name": form.get("metric") or "errors"}
    if form.get("direction"):
        metric["direction"] = form["direction"]
    plan |= {"metric": metric, "budget": {}}
    for field, (table, name) in NUMBERS.items():
        if form.get(field):
            plan[table][name] = _number(form, field)
    if form.get("units"):
        plan["budget"]["units"] = round(_number(form, "units"))
    if form.get("holdout_percent"):
        plan["holdout_percent"] = _number(form, "holdout_percent")
    if form.get("ramp"):
        plan["ramp"] = [_step(text, form) for text in _words(form["ramp"])]
    for name in ("unit", "on_win", "on_harm"):
        if form.get(name):
            plan[name] = form[name]
    return {name: value for name, value in plan.items() if value not in ({}, "")}


def _step(text: str, form: Mapping[str, str]) -> dict[str, Any]:
    step: dict[str, Any] = {"percent": _parsed(text.removesuffix("%"), "ramp")}
    if form.get("dwell_min"):
        step["dwell_s"] = round(60 * _number(form, "dwell_min"))
    if form.get("min_units"):
        step["min_units"] = round(_number(form, "min_units"))
    return step


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").replace("→", " ").split() if word != "%"]


def _number(form: Mapping[str, str], field: str) -> float:
    return _parsed(form[field], field)


def _parsed(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(f"{field} is {text[:40]!r}, which is no number; write one such as 0.02.", field=field) from None


async def show(request: Request) -> Response:
    """The empty form; `?adapter=` fills that in."""
    given = {name: request.query_params[name] for name in ("adapter", "treatments") if name in request.query_params}
    return _page(request, {**EMPTY, **given})


async def make(request: Request) -> Response:
    """`go` says what: `preview`, `simulate` or `create`."""
    form = await form_of(request)
    admin, go = admin_of(request), form.get("go", "preview")
    order: dict[str, Any] = {"adapter": form.get("adapter", ""), "alias": form.get("alias") or "production"}
    try:
        order["plan"] = plan_of(form)
        if go == "create":
            more = {"name": form["name"]} if form.get("name") else {}
            draft = form.get("draft") == "yes"
            made = await admin.post("/experiments", {**order, **more, "draft": draft, "actor": actor_of(request)})
            said = "is written down; start it when you want" if draft else "begins as soon as an engine has proved it"
            return done(request, f"/experiments/{made['id']}", f"Experiment {made['name']} {said}.")
        if go == "simulate":
            assumed = {
                name: _number(form, name) for name in ("effect", "control_mean", "units_a_day") if form.get(name)
            }
            found = await admin.post("/experiments/simulate", {**order, **assumed}, timeout=SIMULATED_S)
            return _page(request, form, simulated=_told(found))
        preview = await admin.post("/experiments/preview", order)
        return _page(request, form, words=preview["words"])
    except Fault as fault:
        if fault.status not in (400, 404, 409):
            raise
        return _page(request, form, fault=fault, status=400)


def _told(found: Mapping[str, Any]) -> dict[str, Any]:
    """A simulation as rows of a table."""
    counted = found["counted"]
    rows = [
        {
            "case": f"If it {case}",
            "won": figures.percent(one["won"]),
            "harmed": figures.percent(one["harmed"]),
            "undecided": figures.percent(one["undecided"]),
            "days": f"{one['days'][0]:.3g} d, nine of ten within {one['days'][1]:.3g} d",
            "units": f"{figures.count(one['units'][0])} {counted}s, {figures.count(one['treated'][0])} meet it",
            "runs": one["runs"],
        }
        for case, one in found["runs"].items()
    ]
    traffic = found["traffic"]
    source = f"{figures.count(traffic['requests'])} requests of {figures.count(traffic['units'])} {counted}s in 7 days"
    return {
        "rows": rows,
        "about": f"{figures.count(found['units_a_day'])} {counted}s a day; traffic: {source}",
        "exact": traffic["exact"],
        "left_out": found["left_out"],
    }


def _page(
    request: Request,
    form: Mapping[str, str],
    *,
    words: Sequence[str] = (),
    simulated: Mapping[str, Any] | None = None,
    fault: Fault | None = None,
    status: int = 200,
) -> Response:
    return render(
        request,
        "experiments/new.html",
        status=status,
        form=form,
        words=words,
        simulated=simulated,
        fault=fault,
        fault_field=fault.field if isinstance(fault, Invalid) else None,
        units=UNITS,
        on_win=ON_WIN,
        on_harm=ON_HARM,
        directions=DIRECTIONS,
        metrics=METRICS,
    )


ROUTES = [Route("/experiments/new", show), Route("/experiments/new", make, methods=["POST"])]
