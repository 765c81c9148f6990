"""All experiments, the newest first, or those that have not ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from dashboard.components.tables import TableAddress, page_from_api
from dashboard.web import admin_of, shown

BADGES = {
    "draft": "quiet",
    "running": "info",
    "paused": "warn",
    "inconclusive": "warn",
    "promoted": "good",
    "rolled_back": "bad",
    "stopped": "quiet",
}
"""How the badge of a state looks."""
PAGE_ROWS = 25


def state_said(state: str) -> str:
    """`rolled back`."""
    return state.replace("_", " ")


def traffic_said(weights: Mapping[str, int]) -> str:
    """`1.0 95 %, 1.1 5 %`, not broken within an arm."""
    return ", ".join(f"{arm}\u00a0{weight / 100:g}\u00a0%" for arm, weight in weights.items())


async def view(request: Request) -> Mapping[str, Any]:
    """A page of them; `?open=yes` leaves out those that have ended, `?adapter=` all others'."""
    address = TableAddress.of(request)
    only_open = request.query_params.get("open") == "yes"
    adapter = request.query_params.get("adapter") or None
    document = await admin_of(request).get(
        "/experiments",
        not_ended=True if only_open else None,
        adapter=adapter,
        after=address.after,
        limit=PAGE_ROWS,
    )
    return {
        "rows": page_from_api(address, document["experiments"], document["next"]),
        "adapter": adapter,
        "tabs": [(address.link(open=None), "All"), (address.link(open="yes"), "Not ended")],
        "current": address.link(open="yes" if only_open else None),
        "badges": BADGES,
        "state_said": state_said,
        "traffic_said": traffic_said,
    }


ROUTES = shown("/experiments", "experiments/list.html", view)
