"""Tenants: their keys, limits, budgets, usage and settings, and orders about them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.components import charts, figures
from dashboard.components.charts import Series
from dashboard.components.tables import TableAddress, page_from_api
from dashboard.faults import Invalid
from dashboard.gateway_api import KeyedApi
from dashboard.web import Page, actor_of, admin_of, done, form_of, own_path, render, shown

ROWS = 50
DAYS = 30
DAY_MS = 86_400_000
USAGE_LIFE_S = 20
SCOPES = (
    ("inference", "call the tenant's adapters"),
    ("training", "files and fine-tuning jobs"),
    ("base", "call base models by name"),
)
LIMITS: Sequence[tuple[str, str, str]] = (
    ("requests_per_minute", "Requests a minute", "1200"),
    ("tokens_per_minute", "Tokens a minute", "200000"),
    ("concurrency", "Requests at once", "32"),
    ("daily_dollars", "Dollars a day (UTC)", "5.00"),
    ("monthly_dollars", "Dollars a month (UTC)", "100"),
    ("daily_tokens", "Tokens a day (UTC)", "1000000"),
    ("monthly_tokens", "Tokens a month (UTC)", "20000000"),
    ("warn_percent", "Warn at this percent of a budget", "80"),
)
"""Field of the API, its label, and an example."""


async def list_view(request: Request) -> Mapping[str, Any]:
    """Tenants by name, with what they used this month: no line is added up of a tenant that is not on the page."""
    address, admin = TableAddress.of(request), admin_of(request)
    page = await admin.get("/tenants", after=address.after, limit=ROWS)
    names = [tenant["name"] for tenant in page["tenants"]]
    first = _day(time.time() * 1000)[:8] + "01"
    lines = await _usage(admin, names, first) if names else []
    used = {line["name"]: line for line in lines if not line["shadow"]}
    rows = [{**tenant, "used": used.get(tenant["name"])} for tenant in page["tenants"]]
    return {"address": address, "rows": page_from_api(address, rows, page["next"])}


async def _usage(admin: KeyedApi, names: Sequence[str], first: str) -> Sequence[Mapping[str, Any]]:
    """A line of each that used anything, and perhaps one of copies."""
    found = await admin.get(
        "/usage", by="tenant", tenant=",".join(names), limit=2 * ROWS, life_s=USAGE_LIFE_S, **{"from": first}
    )
    lines: Sequence[Mapping[str, Any]] = found["lines"]
    return lines


async def find(request: Request) -> Response:
    """The tenant that is searched for."""
    name = request.query_params.get("name", "").strip()
    return RedirectResponse(own_path(f"/tenants/{quote(name, safe='')}" if name else "/tenants"), 303)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used on the last days."""

    requests: int
    failed: int
    refused: int
    tokens: int
    dollars: float
    unpriced: int
    by_day: Markup
    money_by_day: Markup


def usage_of(lines: Sequence[Mapping[str, Any]], now_ms: float) -> Usage:
    """Of lines by day, whose names are `YYYY-MM-DD`; a day without a line is a day without usage."""
    today = int(now_ms // DAY_MS)
    at_ms = [float((today - back) * DAY_MS) for back in reversed(range(DAYS))]
    by_day = {line["name"]: line for line in lines}
    days = [by_day.get(_day(at)) for at in at_ms]

    def of(name: str) -> list[float | None]:
        return [float(day[name] or 0) if day else 0.0 for day in days]

    return Usage(
        requests=sum(day.get("requests", day.get("attempts", 0)) for day in days if day),
        failed=sum(day["failed"] for day in days if day),
        refused=sum(day["refused"] for day in days if day),
        tokens=sum(day["prompt_tokens"] + day["completion_tokens"] for day in days if day),
        dollars=sum(float(day["cost_dollars"] or 0) for day in days if day),
        unpriced=sum(day["unpriced"] for day in days if day),
        by_day=charts.columns(
            "Tokens by day",
            at_ms,
            [Series("prompt", of("prompt_tokens")), Series("completion", of("completion_tokens"))],
            figures.count,
        ),
        money_by_day=charts.columns("Dollars by day", at_ms, [Series("tariff", of("cost_dollars"))], figures.dollars),
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget and how far it is burnt down."""

    scope: str
    window: str
    spent: str
    of: str
    share: float
    due: float
    """The part of its window that is over."""
    ends_at: str
    refused: int
    kind: str


def budget_of(document: Mapping[str, Any], now_ms: float) -> Budget:
    """Of the API's document. `kind` is bad when it is spent, warn when it is spent faster than time goes by."""
    form = figures.dollars if document["unit"] == "dollars" else lambda text: figures.tokens(float(text))
    limit, spent = float(document["budget"]), float(document["spent"])
    share = 1.0 if not limit else spent / limit
    starts, ends = (_ms(document[name]) for name in ("starts_at", "ends_at"))
    due = min(max((now_ms - starts) / (ends - starts), 0.0), 1.0)
    return Budget(
        scope=document["scope"],
        window=document["window"],
        spent=form(document["spent"]),
        of=form(document["budget"]),
        share=share,
        due=due,
        ends_at=document["ends_at"][:10],
        refused=document["refused"],
        kind="bad" if share >= 1 else "warn" if share > max(due, 0.5) else "",
    )


async def tenant_view(request: Request) -> Mapping[str, Any]:
    """One tenant."""
    admin, tenant, now_ms = admin_of(request), request.path_params["tenant"], time.time() * 1000
    name = quote(tenant, safe="")
    info, keys, models, usage = await asyncio.gather(
        admin.get(f"/tenants/{name}"),
        admin.get("/keys", tenant=tenant, limit=200),
        admin.get(f"/tenants/{name}/models", limit=200),
        admin.get(
            "/usage",
            by="day",
            tenant=tenant,
            limit=DAYS + 2,
            life_s=USAGE_LIFE_S,
            **{"from": _day(now_ms - (DAYS - 1) * DAY_MS)},
        ),
    )
    scopes = [f"tenant:{tenant}", *(f"key:{key['id']}" for key in keys["keys"] if key["revoked_at_ms"] is None)][:100]
    limits, budgets = await asyncio.gather(
        _limits(admin, scopes[0]), admin.get("/budgets", scope=",".join(scopes), life_s=4)
    )
    return {
        "tenant": info,
        "keys": keys["keys"],
        "models": models["models"],
        "scopes": SCOPES,
        "limits": limits,
        "limit_fields": LIMITS,
        "usage": usage_of([line for line in usage["lines"] if not line["shadow"]], now_ms),
        "budgets": [budget_of(one, now_ms) for one in budgets["budgets"]],
        "days": DAYS,
    }


async def _limits(admin: KeyedApi, scope: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await admin.get_or(f"/limits/{quote(scope, safe=':')}", {})
    return found


async def create(request: Request) -> Response:
    """A tenant."""
    name = (await form_of(request)).get("name", "")
    made = await admin_of(request).post("/tenants", {"name": name, "actor": actor_of(request)})
    return done(request, f"/tenants/{made['name']}", f"Tenant {made['name']} is there. Make a key for it next.")


async def create_key(request: Request) -> Response:
    """A key; the page that answers shows its secret, and nothing shows it again."""
    tenant, form = request.path_params["tenant"], await form_of(request)
    scopes = [name for name, _ in SCOPES if form.get(f"scope-{name}")]
    order = {
        "tenant": tenant,
        "label": form.get("label", ""),
        "scopes": scopes,
        "adapters": [name for name in re.split(r"[\s,]+", form.get("adapters", "")) if name] or None,
        "expires": form.get("expires") or None,
        "actor": actor_of(request),
    }
    if not scopes:
        raise Invalid("The key may do nothing: no scope is chosen.", "Choose at least one.", field="scopes")
    return render(request, "tenant_key.html", key=await admin_of(request).post("/keys", order), old=None, hours=0)


async def rotate_key(request: Request) -> Response:
    """A new key like an old one, which goes on for a while, so that nobody is refused between the two."""
    form, key = await form_of(request), quote(request.path_params["key"], safe="")
    hours = _limit("hours", form.get("hours", "")) or 0
    order = {"keep_old_s": int(hours) * 3600, "actor": actor_of(request)}
    made = await admin_of(request).post(f"/keys/{key}/rotate", order)
    return render(request, "tenant_key.html", key=made, old=request.path_params["key"], hours=hours)


async def revoke_key(request: Request) -> Response:
    """End a key."""
    tenant, key = request.path_params["tenant"], request.path_params["key"]
    await admin_of(request).delete(f"/keys/{quote(key, safe='')}", params={"actor": actor_of(request)})
    return done(request, f"/tenants/{quote(tenant, safe='')}#keys", f"Key {key} opens nothing more.")


async def set_limits(request: Request) -> Response:
    """All limits of the tenant itself; an empty field is no limit."""
    tenant, form = request.path_params["tenant"], await form_of(request)
    order = {name: _limit(name, form.get(name, "")) for name, _, _ in LIMITS}
    await admin_of(request).put(f"/limits/tenant:{quote(tenant, safe='')}", order)
    return done(request, f"/tenants/{quote(tenant, safe='')}#limits", f"Limits of {tenant} are in force.")


def _limit(name: str, text: str) -> int | str | None:
    if not text:
        return None
    if name.endswith("_dollars"):
        return text.removeprefix("$")
    plain = text.replace(",", "").replace(" ", "")
    if not plain.isdecimal():
        raise Invalid(f"{name} is {text[:40]!r}.", "Give a whole number, or nothing for no limit.", field=name)
    return int(plain)


async def set_settings(request: Request) -> Response:
    """What is particular to the tenant."""
    tenant, form = request.path_params["tenant"], await form_of(request)
    order: dict[str, Any] = {
        "allow_unknown_fields": bool(form.get("allow_unknown_fields")),
        "shadow_consent": bool(form.get("shadow_consent")),
        "response_days": _limit("response_days", form.get("response_days", "")),
        "weight": _limit("weight", form.get("weight", "")),
        "actor": actor_of(request),
    }
    await admin_of(request).patch(f"/tenants/{quote(tenant, safe='')}", order)
    return done(request, f"/tenants/{quote(tenant, safe='')}#settings", f"Settings of {tenant} are in force.")


def _day(at_ms: float) -> str:
    return figures.utc(at_ms)[:10]


def _ms(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp() * 1000


PAGE = Page(
    "/tenants",
    "Tenants",
    "tenants",
    [
        *shown("/tenants", "tenants.html", list_view),
        Route("/tenants/~find", find),
        Route("/tenants", create, methods=["POST"]),
        *shown("/tenants/{tenant}", "tenant.html", tenant_view),
        Route("/tenants/{tenant}/keys", create_key, methods=["POST"]),
        Route("/tenants/{tenant}/keys/{key}/rotate", rotate_key, methods=["POST"]),
        Route("/tenants/{tenant}/keys/{key}/revoke", revoke_key, methods=["POST"]),
        Route("/tenants/{tenant}/limits", set_limits, methods=["POST"]),
        Route("/tenants/{tenant}/settings", set_settings, methods=["POST"]),
    ],
    place=70,
)
