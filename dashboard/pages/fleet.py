"""The fleet: engines, what lies where and how warm it is, what is in quarantine; engines out of traffic and back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.components import charts, figures
from dashboard.components.charts import Series
from dashboard.components.grids import HeatCell, HeatRow, heat
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.faults import Busy, Missing
from dashboard.gateway_api import KeyedApi
from dashboard.pages.overview import state_of
from dashboard.web import Page, actor_of, admin_of, done, form_of, shown

GRID_ROWS = 40
COLD_S = 3600.0
"""A version that was not used for so long has no warmth."""
LOADS_S, LOADS_STEP_S = 3600, 60


@dataclass(frozen=True, slots=True)
class EngineCard:
    """One engine, with what can be ordered of it."""

    url: str
    short: str
    state: str
    kind: str
    fault: str
    about: str
    boot_ms: float | None
    drain: Mapping[str, Any] | None
    in_flight: int
    seats: int | None
    """Requests that it runs at once, as declared."""
    running: int | None
    waiting: int | None
    kv_usage: float | None
    places: int
    places_used: int | None
    resident: int
    loads: Mapping[str, int] | None
    barred: Sequence[Mapping[str, Any]]
    leaving: int
    foreign: Sequence[str]
    source: str
    removed: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits in the gateway for engines of one base that are full."""

    base: str
    waiting: int
    tenants: Sequence[Mapping[str, Any]]
    """Who is next comes first."""


async def view(request: Request) -> Mapping[str, Any]:
    """What the page shows."""
    admin, address = admin_of(request), TableAddress.of(request)
    fleet, quarantine, loads = await asyncio.gather(
        _or_none(admin, "/fleet"), admin.get("/quarantine", life_s=4), _loads(admin)
    )
    engines = fleet["engines"] if fleet else []
    grid = await _residency(admin, address)
    return {
        "fleet": fleet,
        "engines": [card_of(engine) for engine in engines],
        "lines": lines_of(engines) if fleet else None,
        "quarantined": quarantine["quarantined"],
        "loads": loads,
        "rows": page_from_api(address, grid["rows"], grid["next"]) if grid else None,
        "grid": grid_of(grid, engines) if grid and grid["rows"] else None,
        "fault": grid["fault"] if grid else "",
        "workers": fleet["workers"] if fleet else [],
    }


async def _or_none(admin: KeyedApi, path: str, **query: Any) -> Any:
    try:
        return await admin.get(path, **query)
    except Busy:
        return None


async def _residency(admin: KeyedApi, address: TableAddress) -> dict[str, Any] | None:
    """A page of the grid, of one tenant if the address says so; `fault` says why there is none."""
    tenant = address.query.get("tenant") or None
    try:
        found = await admin.get("/residency", limit=GRID_ROWS, after=address.after, tenant=tenant, life_s=4)
    except Busy:
        return None
    except Missing as missing:
        return {"engines": [], "rows": [], "next": None, "fault": str(missing)}
    return {**found, "fault": ""}


async def _loads(admin: KeyedApi) -> Markup | None:
    """Adapters that were loaded in the last hour, and those that made room for them."""
    try:
        traffic = await admin.get_or("/traffic", None, window_s=LOADS_S, step_s=LOADS_STEP_S, life_s=20)
    except Busy:
        return None
    if traffic is None:
        return None
    told = (("loaded", "loads"), ("failed", "failed_loads"), ("evicted", "evictions"))
    lines = [Series(said, traffic[name]) for said, name in told]
    if not any(sum(traffic[name]) for _, name in told):
        return charts.nothing("No adapter was loaded in the last hour.")
    label = "Adapters loaded and evicted a minute, in the last hour"
    return charts.columns(label, traffic["at_ms"], lines, figures.count)


def card_of(engine: Mapping[str, Any]) -> EngineCard:
    """One engine of the fleet's document."""
    state, kind = state_of(engine)
    return EngineCard(
        url=engine["url"],
        short=short(engine["url"]),
        state=state,
        kind=kind,
        fault=engine["fault"] or "",
        about=f"{engine['base'] or 'unknown base'} · {engine['kind']} {engine['version']} · {engine['platform']}",
        boot_ms=None if engine["boot_s"] is None else engine["boot_s"] * 1000,
        drain=engine["drain"],
        in_flight=engine["in_flight"],
        seats=engine["max_num_seqs"],
        running=engine["running"],
        waiting=engine["waiting"],
        kv_usage=engine["kv_usage"],
        places=engine["places"],
        places_used=engine["places_used"],
        resident=len(engine["resident"]),
        loads=engine["loads"],
        barred=engine["barred"],
        leaving=len(engine["leaving"]),
        foreign=engine["foreign"],
        source="added by an operator" if engine["source"] == "admin" else "of the gateway's settings",
        removed=engine["removed"],
    )


def lines_of(engines: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Of each base for which anybody waits; all engines of a base have the same line."""
    by_base = {engine["base_digest"]: engine for engine in engines}
    return [
        Line(one["base"] or "unknown base", one["line_waiting"], one["line"])
        for one in by_base.values()
        if one["line_waiting"] or one["line"]
    ]


def short(url: str) -> str:
    """An engine's URL without what they all have."""
    return url.removeprefix("http://")


def grid_of(grid: Mapping[str, Any], engines: Sequence[Mapping[str, Any]]) -> Markup:
    """Versions on engines: the shade is how lately each was used there."""
    rates: dict[str, float] = {}
    barred: dict[tuple[str, str], str] = {}
    for engine in engines:
        for entry in engine["resident"]:
            if entry["version"]:
                rates[entry["version"]] = max(rates.get(entry["version"], 0.0), entry["requests_per_s"])
        for entry in engine["barred"]:
            barred[engine["url"], entry["version"] or ""] = entry["reason"]
    rows = [
        HeatRow(
            row["version"],
            [_cell(row, url, barred.get((url, row["version"]))) for url in grid["engines"]],
            note=_note(row, rates.get(row["version"])),
        )
        for row in grid["rows"]
    ]
    return heat("Versions on engines", "Version", [short(url) for url in grid["engines"]], rows)


def _note(row: Mapping[str, Any], rate: float | None) -> str:
    parts = [figures.per_s(rate) if rate and rate >= 0.01 else "quiet"]
    if row["copies"] > 1:
        parts.append(f"hot: {row['copies']} homes")
    if not row["wanted"]:
        parts.append("nothing points at it")
    return " · ".join(parts)


def _cell(row: Mapping[str, Any], url: str, refusal: str | None) -> HeatCell:
    cell = row["engines"].get(url)
    if cell is None:
        return HeatCell(None, "other base", "This engine serves another base model.")
    home = "home" if cell["home"] else ""
    if refusal is not None:
        return HeatCell(None, "refused", f"The engine refuses it: {refusal}", "bad")
    if not cell["resident"]:
        about = "It is meant to live here, and is not loaded." if home else "Not loaded here."
        return HeatCell(None, "home, not loaded" if home else "–", about, home)
    idle_s = cell["idle_s"] or 0.0
    used = f"{cell['in_flight']} in flight" if cell["in_flight"] else f"idle {figures.seconds(float(round(idle_s)))}"
    shown_ = "no proof of effect" if cell["strength"] is None else f"effect {figures.percent(cell['strength'])}"
    about = f"{row['version']} on {short(url)}: {used}; {shown_}; {'its home' if home else 'not its home'}"
    return HeatCell(warmth(idle_s, cell["in_flight"]), used, about, home)


def warmth(idle_s: float, in_flight: int) -> float:
    """1 for what is used now, 0 for what was not used for an hour; by the logarithm between them."""
    if in_flight:
        return 1.0
    return max(0.0, 1.0 - math.log1p(idle_s) / math.log1p(COLD_S))


async def drain(request: Request) -> Response:
    """No new requests for an engine."""
    form = await form_of(request)
    order = {"url": form.get("url", ""), "reason": form.get("reason", ""), "actor": actor_of(request)}
    drained = await admin_of(request).post("/engines/drain", order)
    return done(request, "/fleet", f"{short(drained['url'])} gets no new requests; those on it finish.")


async def resume(request: Request) -> Response:
    """Let it take traffic again."""
    form = await form_of(request)
    resumed = await admin_of(request).post("/engines/resume", {"url": form.get("url", "")})
    text = "takes traffic again." if resumed["was_drained"] else "was in traffic already."
    return done(request, "/fleet", f"{short(resumed['url'])} {text}")


async def quarantine(request: Request) -> Response:
    """Take a version from every engine."""
    form = await form_of(request)
    order = {"version": form.get("version", ""), "reason": form.get("reason", "")}
    put = await admin_of(request).post("/quarantine", order)
    return done(request, "/fleet#quarantine", f"{put['version']} is in quarantine: {_force(put)}")


async def release(request: Request) -> Response:
    """Let it be served again."""
    form = await form_of(request)
    released = await admin_of(request).post("/quarantine/release", {"version": form.get("version", "")})
    return done(request, "/fleet#quarantine", f"{released['version']} may be served again: {_force(released)}")


def _force(outcome: Mapping[str, Any]) -> str:
    return "every worker obeys." if outcome["in_force"] else "not every worker obeyed within 3 s; they will."


PAGE = Page(
    "/fleet",
    "Fleet",
    "fleet",
    [
        *shown("/fleet", "fleet.html", view),
        Route("/fleet/drain", drain, methods=["POST"]),
        Route("/fleet/resume", resume, methods=["POST"]),
        Route("/fleet/quarantine", quarantine, methods=["POST"]),
        Route("/fleet/release", release, methods=["POST"]),
    ],
    place=20,
)
