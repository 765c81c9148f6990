"""One experiment: arms, the sequence over its units, guardrails, the log; and what a person may decide."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.components import charts, figures
from dashboard.components.charts import Across, Bar, Series
from dashboard.components.figures import Form
from dashboard.components.marks import Level
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.faults import Missing
from dashboard.pages.experiments.listing import BADGES, state_said, traffic_said
from dashboard.web import actor_of, admin_of, done, form_of, render, shown

LOG_ROWS = 20
NEWEST = 6
"""Decisions on the page itself."""
WIDEST = 4.0
"""Times the newest interval: wider ones are left out of the picture."""
MOST_LOG = 700.0
HELD = ("paused", "inconclusive")
UNDER_WAY = ("running", *HELD)
MAY_FOLLOW = {
    "start": ("draft",),
    "pause": ("running",),
    "resume": HELD,
    "promote": UNDER_WAY,
    "rollback": UNDER_WAY,
    "stop": ("draft", *UNDER_WAY),
}
"""What a person may decide → in which states."""
UNITS = Across("Units judged", lambda at, _: f"{at:,.0f} units", lambda at: f"after {at:,.0f} units")
DONE = {
    "start": "It begins: the first step routes as soon as an engine has proved the treatment.",
    "pause": "It is paused: every unit keeps its arm, and nothing is decided.",
    "resume": "It goes on by its plan.",
    "promote": "The alias moves to the treatment.",
    "rollback": "All traffic goes back to the control.",
    "stop": "It is stopped.",
}
WORDS = {
    "better": ("better", "good"),
    "worse": ("worse", "bad"),
    "non_inferior": ("non-inferior", "good"),
    "undecided": ("undecided", "quiet"),
    "too_few_units": ("too few units", "quiet"),
}
"""A verdict's word → what the badge says, and how it looks."""
FOLLOWS = {
    "hold": "It stays at this step.",
    "alarm": "It stays at this step, and somebody should look.",
    "ramp": "It goes to the next step.",
    "ask": "A person has to decide.",
    "promote": "The treatment gets all of the traffic.",
    "rollback": "All traffic goes back to the control.",
    "pause": "Every unit keeps its arm until a person decides.",
    "inconclusive": "Nothing is certain, and a person has to decide.",
}
"""What a decision that would be made now comes to."""
KINDS = {"promote": "good", "rollback": "bad", "failed": "bad", "alarm": "warn", "ask": "warn", "inconclusive": "warn"}


@dataclass(frozen=True, slots=True)
class Guard:
    """One guardrail, or the primary metric, of one treatment."""

    metric: str
    arm: str
    said: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much speaks against what should be so."""

    name: str
    share: float
    """Of what it takes, by the logarithm; 1 acts."""
    said: str
    kind: str


async def view(request: Request) -> Mapping[str, Any]:
    """Everything of one."""
    number, admin = request.path_params["number"], admin_of(request)
    path = f"/experiments/{number}"
    info, outlook = await asyncio.gather(admin.get(path), admin.get(f"{path}/outlook"))
    log = await admin.get(f"{path}/decisions", after=str(max(0, int(info["etag"]) - NEWEST)), limit=NEWEST)
    found = (info["standing"] or {}).get("standing", {})
    return {
        "info": info,
        "state": state_said(info["state"]),
        "badge": BADGES.get(info["state"], "quiet"),
        "traffic": traffic_said(info["weights"]),
        "outlook": outlook,
        "arms": outlook["arms"],
        "chart": sequence(outlook["sequence"], info["plan"]),
        "primary": list(_verdicts(info["plan"]["metric"]["name"], found.get("primary", {}))),
        "guards": [one for metric, by in found.get("guardrails", {}).items() for one in _verdicts(metric, by)],
        "evidence": list(evidence(outlook["evidence"], info["plan"]["control"])),
        "steps": info["plan"]["ramp"],
        "spent": _spent(info, outlook["arms"]),
        "decisions": log["decisions"][::-1],
        "faults": log["faults"],
        "kinds": KINDS,
        "follows": FOLLOWS,
        "orders": [kind for kind, states in MAY_FOLLOW.items() if info["state"] in states],
        "path": path,
    }


def sequence(told: Mapping[str, Any], plan: Mapping[str, Any]) -> Markup:
    """The primary metric's difference with its band and its margin, over units."""
    looks: Mapping[str, Sequence[Mapping[str, Any]]] = told["looks"]
    units = sorted({look["units"] for of_arm in looks.values() for look in of_arm if _is_told(look, of_arm[-1])})
    if not units:
        return charts.nothing("Too few units are judged yet: the sequence begins with 200 units of two arms.")
    form = form_of_unit(told["unit"])
    if len(units) == 1:
        return _first_look(looks, plan["control"], form)
    series = []
    for arm, of_arm in looks.items():
        known = {look["units"]: look for look in of_arm if _is_told(look, of_arm[-1])}
        estimates, lows, highs = (
            [known[one][name] if one in known else None for one in units] for name in ("estimate", "low", "high")
        )
        series.append(Series(f"{arm} less {plan['control']}", estimates, lows, highs))
    levels = [Level("margin: as much worse as it may be", told["margin"])] if told["margin"] else []
    sure = f"what it lies between in {figures.percent(told['sure'])} of experiments at any time"
    label = f"Difference of {told['metric']} to the control, {told['direction']} is better, with {sure}"
    return charts.line(label, units, series, form, levels=levels, across=UNITS)


def _first_look(looks: Mapping[str, Sequence[Mapping[str, Any]]], control: str, form: Form) -> Markup:
    """One look makes no line, and may have decided all the same."""
    rows = [
        Bar(f"{arm} less {control}", look["estimate"], low=look["low"], high=look["high"], note="at the first look")
        for arm, of_arm in looks.items()
        for look in of_arm
        if _is_told(look, of_arm[-1])
    ]
    return charts.bars("Difference to the control, at the first look", rows, form)


def _is_told(look: Mapping[str, Any], newest: Mapping[str, Any]) -> bool:
    """Whether it is worth its room: first intervals are so wide that nothing else could be seen beside them."""
    if look["low"] is None or look["high"] is None:
        return False
    if newest["low"] is None or newest["high"] is None:
        return True
    return bool(look["high"] - look["low"] <= WIDEST * (newest["high"] - newest["low"]))


def form_of_unit(unit: str) -> Form:
    """How a difference is written: `+2.1 points`, `−12 %`, `0.3`."""
    return {"points": points, "percent": signed_percent}.get(unit, signed)


def points(value: float | None) -> str:
    """A difference of rates."""
    if value is None:
        return figures.UNKNOWN
    said = signed(100 * value)
    return f"{said} point{'' if said[1:] == '1' else 's'}"


def signed_percent(value: float | None) -> str:
    """A part of the control's value."""
    return figures.UNKNOWN if value is None else f"{signed(100 * value)} %"


def signed(value: float | None) -> str:
    """With its sign."""
    if value is None:
        return figures.UNKNOWN
    return "0" if value == 0 else f"{'+' if value > 0 else '−'}{abs(value):.3g}"


def _verdicts(metric: str, by_arm: Mapping[str, Mapping[str, Any]]) -> Iterator[Guard]:
    for arm, verdict in by_arm.items():
        said, kind = WORDS.get(verdict["word"], (verdict["word"], "quiet"))
        yield Guard(metric, arm, said, kind, verdict["text"])


def evidence(told: Sequence[Mapping[str, Any]], control: str) -> Iterator[Evidence]:
    """Of the API's: what should be so, or that it is not."""
    for one in told:
        acts, failed = one["acts"], one["failed"]
        name = f"Arms {'did not get' if acts else 'got'} the units that were planned"
        if failed is not None:
            chance = "more than by chance" if acts else "no more than by chance"
            name = f"{one['of']} fails {chance}: {failed[0]} units, and {failed[1]} of {control}"
        log_e, acts_at = one["log_e"], one["acts_at"]
        if acts_at is None:
            yield Evidence(name, float(one["acts"]), "acts" if one["acts"] else "does not act", _kind(one, 0.0))
            continue
        odds = math.exp(min(log_e, MOST_LOG))
        against = f"{figures.count(odds)} to 1" if odds >= 1 else "none"
        share = min(1.0, max(0.0, log_e / acts_at))
        yield Evidence(name, share, f"against it: {against}; {math.exp(acts_at):,.0f} to 1 acts", _kind(one, share))


def _kind(one: Mapping[str, Any], share: float) -> str:
    return "bad" if one["acts"] else "warn" if share > 0.5 else "good"


def _spent(info: Mapping[str, Any], arms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What the plan's budget has used up: (share, text) each. Days are told by the template, which knows the time."""
    budget = info["plan"]["budget"]
    units = sum(arm["units"] for arm in arms)
    nano = sum(arm["cost_nano"] for arm in arms[1:])
    dollars = budget.get("dollars")
    return {
        "units": (units / budget["units"], f"{figures.count(units)} of {figures.count(budget['units'])} units"),
        "dollars": None
        if dollars is None
        else (nano / 1e9 / dollars, f"{figures.nano_dollars(nano)} of {figures.dollars(dollars)}"),
        "cost": figures.nano_dollars(nano),
        "days": budget["days"],
    }


async def log_view(request: Request) -> Response:
    """The whole log, a page at a time, with the figures of each decision."""
    number, admin = request.path_params["number"], admin_of(request)
    address = TableAddress.of(request)
    info, log = await asyncio.gather(
        admin.get(f"/experiments/{number}"),
        admin.get(f"/experiments/{number}/decisions", after=address.after, limit=LOG_ROWS),
    )
    rows = page_from_api(address, log["decisions"], log["next"])
    return render(
        request,
        "experiments/log.html",
        info=info,
        rows=rows,
        faults=log["faults"],
        kinds=KINDS,
        traffic_said=traffic_said,
        state_said=state_said,
    )


async def decide(request: Request) -> Response:
    """An order of a person, on what the page showed."""
    number, kind = request.path_params["number"], request.path_params["kind"]
    if kind not in MAY_FOLLOW:
        raise Missing(f"There is no order {kind}.")
    form = await form_of(request)
    order: dict[str, Any] = {"actor": actor_of(request)}
    if form.get("reason"):
        order["reason"] = form["reason"]
    if kind == "stop":
        order["keep"] = form.get("keep") == "yes"
    if kind == "promote":
        order |= {name: form[name] for name in ("version", "override") if form.get(name)}
    headers = {"If-Match": f'"{form["etag"]}"'} if form.get("etag") else {}
    await admin_of(request).post(f"/experiments/{number}/{kind}", order, headers=headers)
    return done(request, f"/experiments/{number}", DONE[kind])


ROUTES = [
    *shown("/experiments/{number:int}", "experiments/one.html", view),
    Route("/experiments/{number:int}/log", log_view),
    Route("/experiments/{number:int}/{kind}", decide, methods=["POST"]),
]
