"""One page with every component on it, to be looked at: `python -m tests.dashboard.sample` serves it until Ctrl-C."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from markupsafe import Markup
from starlette.requests import Request

from dashboard.components import charts, figures
from dashboard.components.charts import Bar, Series
from dashboard.components.grids import HeatCell, HeatRow, heat
from dashboard.components.marks import Level, Moment
from dashboard.components.tables import Column, TableAddress, page_of
from dashboard.web import Page, shown

TEMPLATES = Path(__file__).parent / "templates"
BEGIN_MS = 1_796_000_000_000
STEP_MS = 60_000
AT_MS = [BEGIN_MS + number * STEP_MS for number in range(60)]


def wave(height: float, phase: float = 0.0, base: float = 0.0) -> list[float | None]:
    """Values that go up and down, always the same."""
    return [base + height * (1 + math.sin(number / 6 + phase)) for number in range(len(AT_MS))]


def over_time() -> dict[str, Markup]:
    """Charts with an axis of time."""
    middle = [0.04 * (1 - math.exp(-number / 15)) for number in range(60)]
    spread = [0.12 / math.sqrt(number + 1) for number in range(60)]
    gap = wave(30, base=40)
    gap[20:26] = [None] * 6
    low = [one - width for one, width in zip(middle, spread, strict=True)]
    high = [one + width for one, width in zip(middle, spread, strict=True)]
    days = [BEGIN_MS + number * 86_400_000 for number in range(14)]
    spent = [Series("engine", wave(3)[:14]), Series("training", wave(1, 2)[:14])]
    return {
        "lines": charts.line("Latency", AT_MS, [Series("p50", wave(20)), Series("p95", gap)], figures.ms),
        "band": charts.line(
            "Difference",
            AT_MS,
            [Series("treatment − control", middle, low, high)],
            figures.percent,
            levels=[Level("margin", -0.02)],
            moments=[Moment("ramp to 25 %", AT_MS[22])],
        ),
        "layers": charts.area(
            "Requests by version",
            AT_MS,
            [Series("1.0", wave(8, 3)), Series("1.1", wave(8)), Series("<b>1.2</b>", wave(3, 1))],
            figures.per_s,
        ),
        "columns": charts.columns("Cost by day", days, spent, figures.dollars),
    }


def side_by_side() -> dict[str, Markup]:
    """Charts of things beside each other."""
    bars = [Bar("acme", 12.5, href="#acme", low=9, high=15), Bar("globex", -4.2), Bar("initech", None, note="no price")]
    rows = [HeatRow(f"acme/triage@1.{n}", [HeatCell(n / 5, f"{n}/s"), HeatCell(None, "–")]) for n in range(6)]
    return {
        "bars": charts.bars("Savings", bars, figures.dollars),
        "grid": heat("Residency", "Version", ["10.0.0.1:8001", "10.0.0.2:8001"], rows),
    }


async def view(request: Request) -> Mapping[str, Any]:
    """Everything, with numbers that are made up."""
    people = [{"name": f"tenant-{number:03}", "requests": number * 37 % 101} for number in range(120)]
    by: dict[str, Callable[[dict[str, Any]], Any]] = {name: itemgetter(name) for name in ("name", "requests")}
    return {
        **over_time(),
        **side_by_side(),
        "rows": page_of(TableAddress.of(request, "name"), people, text=itemgetter("name"), by=by, page_rows=8),
        "heads": [Column("Tenant", "name"), Column("Requests", "requests", numeric=True), Column("State"), Column("")],
    }


PAGE = Page("/components", "Components", "overview", shown("/components", "components.html", view))

if __name__ == "__main__":
    import uvicorn

    from dashboard.app import make_app
    from dashboard.sessions import Person
    from dashboard.settings import DashboardSettings

    settings = DashboardSettings(dashboard_port=int(sys.argv[1]) if len(sys.argv) > 1 else 8003)
    app = make_app(settings, [PAGE], TEMPLATES)
    token = app.state.dashboard.sessions.make_link(Person("ann", "operate", "sk-none"))
    sys.stdout.write(f"{settings.url}/enter/{token}, then /components\n")
    sys.stdout.flush()
    uvicorn.run(app, port=settings.dashboard_port, access_log=False, log_level="warning")
