"""The overview: how traffic goes, how engines are, what changed lately, and what needs a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.requests import Request

from dashboard.components import charts, figures
from dashboard.components.charts import Series
from dashboard.faults import Busy
from dashboard.gateway_api import KeyedApi
from dashboard.pages.audit import entry_of
from dashboard.web import Page, admin_of, shown

WINDOWS = {
    "15m": (900, 10, "15 min"),
    "1h": (3600, 30, "1 h"),
    "6h": (21_600, 300, "6 h"),
    "24h": (86_400, 900, "24 h"),
}
"""By what the address says: seconds, seconds of a step, and its name."""
USUAL_WINDOW = "1h"
CHANGES, DECISIONS, MOVES = 8, 6, 5
TAKES_TRAFFIC = ("up", "slow")
STATES = {"up": "good", "slow": "warn", "draining": "info", "new": "quiet"}
"""How the badge of an engine's state looks; all others are bad."""
OUTCOMES = {
    "failed": "failed (5xx)",
    "unavailable": "unavailable (503)",
    "broken_off": "broken off",
    "limited": "over a limit (429)",
    "refused": "refused (4xx)",
    "client_aborted": "left by the client",
}
"""What did not end well, the worst first, as people call it."""
OUR_FAULT = ("failed", "unavailable", "broken_off")


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a window, drawn."""

    window: str
    """The time that is counted, in words: all that was asked for, or less."""
    since_ms: float
    began_within: bool
    """Whether counting began within the window, so that it is not whole."""
    requests_per_s: float | None
    requests: int
    fault_share: float | None
    faults: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    gap_p50_ms: float | None
    gap_p95_ms: float | None
    rate_spark: Markup
    rate: Markup
    faults_chart: Markup
    ttft: Markup
    gap: Markup


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine, in a line."""

    url: str
    state: str
    kind: str
    fault: str
    base: str
    in_flight: int
    places: int
    places_used: int | None
    resident: int
    kv_usage: float | None


async def view(request: Request) -> Mapping[str, Any]:
    """What the page shows. Parts whose route this gateway has not, are said to be missing."""
    admin = admin_of(request)
    window = request.query_params.get("window", USUAL_WINDOW)
    window = window if window in WINDOWS else USUAL_WINDOW
    fleet, traffic, attention, audit, swaps = await asyncio.gather(
        _or_busy(admin, "/fleet"),
        _traffic(admin, window),
        admin.get_or("/attention", None, life_s=20, limit=DECISIONS),
        admin.get_or("/audit", None, life_s=15, limit=CHANGES),
        admin.get("/swaps", life_s=8, limit=MOVES),
    )
    engines = [_engine(one) for one in fleet["engines"]] if fleet else []
    return {
        "window": window,
        "windows": [(f"/?window={name}", said) for name, (_, _, said) in WINDOWS.items()],
        "fleet": fleet,
        "engines": engines,
        "serving": sum(engine.state in TAKES_TRAFFIC for engine in engines),
        "in_flight": sum(engine.in_flight for engine in engines),
        "waiting": sum({one["base_digest"]: one["line_waiting"] for one in fleet["engines"]}.values()) if fleet else 0,
        "duties": [(name, said) for name, said in fleet["duties"].items() if said != "ok"] if fleet else [],
        "traffic": traffic,
        "attention": attention,
        "moves": swaps["swaps"],
        "changes": None if audit is None else [entry_of(one) for one in audit["entries"]],
    }


async def _or_busy(admin: KeyedApi, path: str) -> Any:
    """`None` where nobody leads the fleet at the moment; the rest of the page is shown."""
    try:
        return await admin.get(path)
    except Busy:
        return None


async def _traffic(admin: KeyedApi, window: str) -> Traffic | None:
    seconds, step_s, said = WINDOWS[window]
    try:
        document = await admin.get_or("/traffic", None, life_s=9, window_s=seconds, step_s=step_s)
    except Busy:
        return None
    return None if document is None else traffic_of(document, said, step_s)


def traffic_of(document: Mapping[str, Any], window: str, step_s: int) -> Traffic:
    """The charts of a `/traffic` document."""
    at_ms: list[float] = document["at_ms"]
    line = next(iter(document["lines"]), None)
    whole = line["whole"] if line else {}
    requests = int(whole.get("requests", 0))
    outcomes: Mapping[str, int] = whole.get("outcomes", {})
    faults = sum(outcomes.get(name, 0) for name in OUR_FAULT)
    counted_s = max((document["until_ms"] - max(document["since_ms"], at_ms[0] if at_ms else 0)) / 1000, step_s)
    rates: Sequence[float] = line["requests_per_s"] if line else [0.0] * len(at_ms)
    errors: Mapping[str, Sequence[float]] = line["errors_per_s"] if line else {}

    def quantiles(label: str, name: str) -> Markup:
        if line is None or not any(value is not None for value in line[f"{name}_p95_ms"]):
            return charts.nothing("No streamed answer in this time.")
        lines = [Series("p50", line[f"{name}_p50_ms"]), Series("p95", line[f"{name}_p95_ms"])]
        return charts.line(label, at_ms, lines, figures.ms)

    began_within = bool(at_ms) and document["since_ms"] > at_ms[0] + 1000 * step_s
    told = [Series(said, errors[name]) for name, said in OUTCOMES.items() if name in errors and any(errors[name])]
    return Traffic(
        window=figures.seconds(round(counted_s)) if began_within else window,
        since_ms=document["since_ms"],
        began_within=began_within,
        requests_per_s=requests / counted_s,
        requests=requests,
        fault_share=faults / requests if requests else None,
        faults=faults,
        ttft_p50_ms=whole.get("ttft_p50_ms"),
        ttft_p95_ms=whole.get("ttft_p95_ms"),
        gap_p50_ms=whole.get("inter_token_p50_ms"),
        gap_p95_ms=whole.get("inter_token_p95_ms"),
        rate_spark=charts.spark("Requests a second", rates),
        rate=charts.line("Requests a second over time", at_ms, [Series("requests", rates)], figures.per_s),
        faults_chart=charts.area("What did not end well, a second", at_ms, told, figures.per_s)
        if told
        else charts.nothing("Everything ended well in this time."),
        ttft=quantiles("Time to the first token over time", "ttft"),
        gap=quantiles("Time between two tokens over time", "inter_token"),
    )


def state_of(engine: Mapping[str, Any]) -> tuple[str, str]:
    """An engine's state in a word, and the kind of its badge."""
    state = engine["state"]
    if engine["drain"] is not None and state in (*TAKES_TRAFFIC, "draining"):
        return ("draining" if engine["in_flight"] else "drained"), "info"
    return state, STATES.get(state, "bad")


def _engine(document: Mapping[str, Any]) -> Engine:
    state, kind = state_of(document)
    return Engine(
        url=document["url"],
        state=state,
        kind=kind,
        fault=document["fault"] or "",
        base=document["base"] or "unknown base",
        in_flight=document["in_flight"],
        places=document["places"],
        places_used=document["places_used"],
        resident=len(document["resident"]),
        kv_usage=document["kv_usage"],
    )


PAGE = Page("/", "Overview", "overview", shown("/", "overview.html", view), place=10)
