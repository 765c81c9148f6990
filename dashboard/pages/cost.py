"""Cost: what tenants are charged, what engines cost for it, what APIs would have cost, and what is ahead.

The page comes at once; its parts, which add up days of usage, follow. Every figure opens its formula.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from dashboard.components import charts, figures
from dashboard.components.charts import Bar
from dashboard.components.tables import LIVE, TableAddress, page_from_api
from dashboard.faults import Invalid
from dashboard.gateway_api import KeyedApi
from dashboard.pages.tenants import budget_of
from dashboard.web import Page, admin_of, fragment, render

ROWS = 25
REPORT_LIFE_S = 120
"""A report adds up the days of its window, today's attempts one by one: it is shared for so long."""
OUTLOOK_LIFE_S = 600
LONGEST_S = 90.0
"""Of such an answer: a month of a thousand tenants is much to add up, beside a gateway that serves."""
BUDGETS = TENANTS = 12
DAY_MS = 86_400_000
WINDOWS = {"month": "this month", "last": "last month", "7d": "7 days", "90d": "90 days"}
BY = ("tenant", "adapter", "version", "key", "engine", "day", "arm")
MONEY = ("budget_near", "budget_used_up", "usage_unpriced", "usage_unsettled")
"""Kinds of what needs a decision that are about money."""
LABELS = {"measured": "good", "calibrated": "info", "assumed": "warn"}
"""How sure a baseline is, and how its badge looks."""


@dataclass(frozen=True, slots=True)
class Explained:
    """How one figure of a line is made."""

    figure: str
    value: str
    formula: str
    filled: Sequence[str]
    version: str | None
    rows: Sequence[int]
    query: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report, with all that opens."""

    document: Mapping[str, Any]
    explained: Sequence[Explained]


def _asked(request: Request) -> dict[str, Any]:
    """What the address asks for; what makes no sense is as if it was not there."""
    query = request.query_params
    window = query.get("window", "month")
    by = query.get("by", "tenant")
    return {
        "window": window if window in WINDOWS else "month",
        "since": query.get("from") or None,
        "until": query.get("until") or None,
        "by": by if by in BY else "tenant",
        "tenant": query.get("tenant", "").strip() or None,
    }


def days_of(window: str, now_ms: float) -> tuple[str, str | None]:
    """First day, and the first that is not in it; `None`: until now."""
    today = figures.utc(now_ms)[:10]
    first = f"{today[:8]}01"
    if window == "last":
        before = figures.utc(_day_ms(first) - DAY_MS)[:10]
        return f"{before[:8]}01", first
    if window == "month":
        return first, None
    return figures.utc(now_ms - (int(window.removesuffix("d")) - 1) * DAY_MS)[:10], None


def _day_ms(day: str) -> float:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000


async def show(request: Request) -> HTMLResponse:
    """The frame; its parts come by themselves, and without JavaScript by their links."""
    asked = _asked(request)
    query, address = request.url.query, TableAddress.of(request)
    return render(
        request,
        "cost.html",
        **asked,
        windows=[(_of_window(address, name), said) for name, said in WINDOWS.items()],
        current_window="" if asked["since"] else _of_window(address, asked["window"]),
        bys=[(address.link(by=name), name) for name in BY],
        current_by=address.link(by=asked["by"]),
        report_url=f"/cost/report{LIVE}?{query}",
        outlook_url=f"/cost/outlook{LIVE}",
    )


def _of_window(address: TableAddress, window: str) -> str:
    return address.link(**{"window": window, "from": None, "until": None})


async def report(request: Request) -> HTMLResponse:
    """What was used, charged and paid, by line."""
    asked, address, admin = _asked(request), TableAddress.of(request), admin_of(request).waiting(LONGEST_S)
    since, until = days_of(asked["window"], time.time() * 1000)
    if asked["since"]:  # days of one's own, by the address
        since, until = asked["since"], asked["until"]
    await _in_force(admin)
    found = await admin.get(
        "/cost/report",
        by=asked["by"],
        tenant=asked["tenant"],
        until=until,
        order=None if asked["by"] == "day" else "cost",
        explain=True,
        after=address.after,
        limit=ROWS,
        life_s=REPORT_LIFE_S,
        **{"from": since},
    )
    of_page = TableAddress("/cost", address.query, address.search, address.sort, address.page, address.after)
    lines = _lines(found)
    total = found["total"]
    names = [one["name"] for one in found["baselines"]]
    return fragment(
        request,
        "cost_report.html",
        **asked,
        report=found,
        total=total,
        names=names,
        compared={one["name"]: one for one in found["baselines"]},
        labels=LABELS,
        rows=page_from_api(of_page, lines, found["next"]),
        savings=_savings(total, names),
        sides=_sides(total, names),
    )


async def _in_force(admin: KeyedApi) -> None:
    """What is kept for long is shown to nobody whose key is over by now. Raises `LoggedOut`."""
    await admin.get_or("/me", None, life_s=0)


def _lines(found: Mapping[str, Any]) -> list[Line]:
    opened: dict[tuple[str | None, str], list[Explained]] = {}
    for one in found["explain"] or ():
        opened.setdefault((one["tenant"], one["line"]), []).append(
            Explained(
                one["figure"], one["value"], one["formula"], one["filled"], one["version"], one["rows"], one["query"]
            )
        )
    return [Line(line, opened.get((line["tenant"], line["name"]), ())) for line in found["lines"]]


def _savings(total: Mapping[str, Any], names: Sequence[str]) -> Markup:
    """Bars that may go to the left: an API that is cheaper."""
    rows = []
    for name in names:
        one = total["baselines"][name]
        if one["savings_dollars"] is not None:
            low, high = one["savings_interval_dollars"] or (None, None)
            rows.append(
                Bar(
                    name,
                    float(one["savings_dollars"]),
                    low=None if low is None else float(low),
                    high=None if high is None else float(high),
                    note=one["label"],
                )
            )
    if not rows:
        return charts.nothing("Not known yet: it needs what engines cost, and requests that have a list price.")
    return charts.bars("Savings against each API; to the left the API is cheaper", rows, figures.dollars)


def _sides(total: Mapping[str, Any], names: Sequence[str]) -> Markup:
    """What the same requests are charged, cost here, and would have cost."""
    cost = total["engine_cost"] or {}
    rows = [
        ("charged (tariff)", total["tariff_dollars"]),
        ("engine cost, marginal", cost.get("marginal_dollars")),
        ("engine cost, busy", cost.get("busy_dollars")),
        ("engine cost, loaded", cost.get("loaded_dollars")),
        *((name, total["baselines"][name]["cost_dollars"]) for name in names),
    ]
    known = [Bar(name, float(value)) for name, value in rows if value is not None]
    return charts.bars("Dollars of the window", known, figures.dollars)


async def outlook(request: Request) -> HTMLResponse:
    """What is ahead, and what is wrong with the books."""
    admin, now_ms = admin_of(request).waiting(LONGEST_S), time.time() * 1000
    await _in_force(admin)
    forecast, even, anomalies, radar, attention, counts, budgets = await asyncio.gather(
        admin.get_or("/cost/forecast", None, most=TENANTS, life_s=OUTLOOK_LIFE_S),
        _break_even(admin),
        admin.get_or("/cost/anomalies", None, days=7, life_s=OUTLOOK_LIFE_S),
        admin.get_or("/cost/radar", None, limit=20, life_s=OUTLOOK_LIFE_S),
        admin.get_or("/attention", None, life_s=10),
        admin.get_or("/reconciliation", None, life_s=OUTLOOK_LIFE_S),
        admin.get("/budgets", limit=200, life_s=10),
    )
    found = sorted((budget_of(one, now_ms) for one in budgets["budgets"]), key=lambda one: -one.share)
    items = [one for one in attention["items"] if one["kind"] in MONEY] if attention else []
    return fragment(
        request,
        "cost_outlook.html",
        forecast=forecast,
        ahead=_dearest(forecast["tenants"] if forecast else [], _charged),
        even=even,
        evens=_dearest(even.get("tenants", []), lambda one: float(one["loaded_dollars"])),
        gauge_share=_reached(even),
        anomalies=anomalies["anomalies"] if anomalies else [],
        retirements=radar["retirements"] if radar else [],
        items=items,
        counts=counts,
        counted=_by_engine(counts["balances"]) if counts else [],
        budgets=found[:BUDGETS],
        more_budgets=max(len(found) - BUDGETS, 0),
    )


def _dearest(tenants: Sequence[Mapping[str, Any]], dollars: Callable[[Mapping[str, Any]], float]) -> Sequence[Any]:
    return sorted(tenants, key=lambda one: (-dollars(one), one["tenant"]))[:TENANTS]


def _charged(ahead: Mapping[str, Any]) -> float:
    """By the month's end, or until now where that is not known."""
    tariff = ahead["tariff"] or {}
    return float(tariff.get("expected_dollars") or tariff.get("booked_dollars") or 0)


@dataclass(frozen=True, slots=True)
class Counted:
    """What one engine has counted, over all its boots, in tokens."""

    engine: str
    counted: int
    tenants: int
    probes: int
    broken_off: int
    """Done for what broke off, ran at a reading or was lost with a process."""
    unexplained: int


def _by_engine(balances: Sequence[Mapping[str, Any]]) -> list[Counted]:
    def total(engine: str, *parts: str) -> int:
        of_engine = [one for one in balances if one["engine"] == engine]
        return sum(one[part]["prompt"] + one[part]["completion"] for one in of_engine for part in parts)

    return [
        Counted(
            engine,
            counted=total(engine, "counted"),
            tenants=total(engine, "tenants", "reread"),
            probes=total(engine, "system"),
            broken_off=total(engine, "abort_overrun", "in_flight", "lost"),
            unexplained=total(engine, "unexplained"),
        )
        for engine in dict.fromkeys(one["engine"] for one in balances)
    ]


async def _break_even(admin: KeyedApi) -> Any:
    """`None` with a sentence of why, where it cannot be said yet."""
    try:
        return await admin.get("/cost/break-even", life_s=OUTLOOK_LIFE_S)
    except Invalid as why:
        return {"why": f"{why}"}


def _reached(even: Mapping[str, Any]) -> float | None:
    needed = even.get("break_even_requests")
    return None if not needed else even["requests"] / needed


PAGE = Page(
    "/cost",
    "Cost",
    "cost",
    [
        Route("/cost", show),
        Route(f"/cost/report{LIVE}", report),
        Route(f"/cost/outlook{LIVE}", outlook),
    ],
    place=60,
)
