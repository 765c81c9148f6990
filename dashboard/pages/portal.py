"""A tenant's own page, with its own key: usage, budgets, models and jobs of that tenant, and of no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from dashboard.components import charts, figures
from dashboard.components.charts import Bar
from dashboard.faults import Refused
from dashboard.pages.tenants import DAYS, budget_of, usage_of
from dashboard.pages.training import STATUSES
from dashboard.web import Page, serving_of, shown

MODELS = 200
JOBS = 20
USAGE_LIFE_S = 20


async def view(request: Request) -> Mapping[str, Any]:
    """All of it is asked of `/v1`, so the gateway itself keeps tenants apart."""
    api, now_ms = serving_of(request), time.time() * 1000
    account, days, adapters, budgets, models, jobs = await asyncio.gather(
        api.get("/account", life_s=30),
        api.get("/account/usage", by="day", life_s=USAGE_LIFE_S),
        api.get("/account/usage", by="adapter", life_s=USAGE_LIFE_S),
        api.get("/account/budgets", life_s=5),
        api.get("/models", life_s=10),
        _jobs(request),
    )
    tokens = {line["name"]: line["prompt_tokens"] + line["completion_tokens"] for line in adapters["lines"]}
    most = sorted((name for name in tokens if tokens[name]), key=lambda name: -tokens[name])[:10]
    return {
        "account": account,
        "usage": usage_of(days["lines"], now_ms),
        "days": DAYS,
        "by_adapter": charts.bars(
            "Tokens by adapter",
            [Bar(name, tokens[name]) for name in most],
            figures.tokens,
        ),
        "budgets": [budget_of(one, now_ms) for one in budgets["data"]],
        "models": models["data"][:MODELS],
        "more_models": max(len(models["data"]) - MODELS, 0),
        "jobs": jobs,
        "statuses": STATUSES,
    }


async def _jobs(request: Request) -> list[Mapping[str, Any]] | None:
    """`None` for a key that may have none."""
    try:
        page = await serving_of(request).get("/fine_tuning/jobs", limit=JOBS)
    except Refused:
        return None
    jobs: list[Mapping[str, Any]] = page["data"]
    return jobs


PAGE = Page("/portal", "Your models", "portal", shown("/portal", "portal.html", view), roles=("tenant",), place=80)
