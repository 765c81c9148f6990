"""Shadows: copies of requests to a candidate, what tells its answers from the tenant's, and the pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.components import figures
from dashboard.components.charts import Bar, bars
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.web import actor_of, admin_of, done, form_of, shown

PAGE_ROWS = 25
PAIRED = "paired"


async def listed(request: Request) -> Mapping[str, Any]:
    """All of them, the newest first."""
    address = TableAddress.of(request)
    after = int(address.after) if address.after and address.after.isdecimal() else None
    document = await admin_of(request).get("/shadows", after=after, limit=PAGE_ROWS)
    return {"rows": page_from_api(address, document["shadows"], document["next"]), "paired": PAIRED}


async def one(request: Request) -> Mapping[str, Any]:
    """One of them: its figures, and a page of its pairs; `?texts=yes` with what was said, where that is kept."""
    number, admin, address = request.path_params["number"], admin_of(request), TableAddress.of(request)
    texts = request.query_params.get("texts") == "yes"
    shadow, summary, pairs = await asyncio.gather(
        admin.get(f"/shadows/{number}"),
        admin.get(f"/shadows/{number}/summary", life_s=5),
        admin.get(f"/shadows/{number}/pairs", after=address.after, limit=PAGE_ROWS, texts=texts or None),
    )
    counts = sorted(shadow["counts"].items(), key=lambda item: (item[0] != PAIRED, -item[1]))
    causes = [Bar(cause or "unknown", count) for cause, count in counts]
    return {
        "shadow": shadow,
        "summary": summary["summary"],
        "causes": bars("Requests that were to be copied, by what became of them", causes, figures.count),
        "rows": page_from_api(address, pairs["pairs"], pairs["next"]),
        "texts": texts,
        "with_texts": address.link(texts=None if texts else "yes"),
        "paired": shadow["counts"].get(PAIRED, 0),
        "to_copy": sum(shadow["counts"].values()),
    }


async def stop(request: Request) -> Response:
    """End it."""
    form, number = await form_of(request), request.path_params["number"]
    order = {"actor": actor_of(request), **({"reason": form["reason"]} if form.get("reason") else {})}
    await admin_of(request).post(f"/shadows/{number}/stop", order)
    return done(request, f"/experiments/shadows/{number}", f"Shadow {number} has ended: no copy begins any more.")


ROUTES = [
    *shown("/experiments/shadows", "experiments/shadows.html", listed),
    *shown("/experiments/shadows/{number:int}", "experiments/shadow.html", one),
    Route("/experiments/shadows/{number:int}/stop", stop, methods=["POST"]),
]
