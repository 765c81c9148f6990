"""`/v1/account`: what a tenant sees of itself with its own key: who it is, its usage, what is left of its budgets."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, get_args

from fastapi import APIRouter, Request

from gateway.api.admin.budgets import budgets_of
from gateway.api.tenants import in_turn, of_whole_tenant, one_in_query, who_asks
from gateway.errors import BadRequest
from gateway.handoffs import Principal
from gateway.house import House
from registry.days import DAY_MS, day_of, window_ms
from registry.db import now_ms
from registry.errors import InvalidInput
from registry.ledger.usage_report import By, UsageLine, report_usage
from registry.service import Registry

USUAL_DAYS, MOST_DAYS, MOST_LINES = 30, 400, 500
LINES = tuple(one for one in get_args(By) if one != "tenant")
QUERY: Final = ("by", "from", "until")


def account_router(house: House, registry: Registry) -> APIRouter:
    """The three routes. They read sums by day, in the tenant's turn."""
    router = APIRouter(prefix="/v1/account", tags=["account"])

    @router.get("")
    async def show_account(request: Request) -> dict[str, Any]:
        """Whose key this is, and what it may do."""
        principal = who_asks(house, request)
        _refuse_unknown(request, ())
        return {
            "object": "account",
            "tenant": principal.tenant,
            "key_id": principal.key_id,
            "scopes": sorted(principal.scopes),
            "adapters": None if principal.adapters is None else sorted(principal.adapters),
        }

    @router.get("/usage")
    async def show_usage(request: Request) -> dict[str, Any]:
        """Requests, tokens and dollars of the tenant by `by`: day, adapter, version or key; from `from` until `until`,
        YYYY-MM-DD (UTC), by default the last 30 days.
        """
        principal = of_whole_tenant(who_asks(house, request), "Usage")
        _refuse_unknown(request, QUERY)
        by = one_in_query(request, "by", "day", *LINES)
        since_ms, until_ms = _window(request)
        ask = partial(
            report_usage,
            registry.db,
            by,
            since_ms=since_ms,
            until_ms=until_ms,
            tenants=[principal.tenant],
            limit=MOST_LINES,
        )
        report = await in_turn(house, principal, ask)
        return {
            "object": "usage",
            "by": by,
            "since_ms": since_ms,
            "until_ms": until_ms,
            "lines": [_line(line) for line in report.lines if not line.shadow],
            "has_more": report.next is not None,
        }

    @router.get("/budgets")
    async def show_budgets(request: Request) -> dict[str, Any]:
        """What is left of the budgets of the tenant, of its keys and of its adapters."""
        principal = of_whole_tenant(who_asks(house, request), "A budget")
        _refuse_unknown(request, ())
        budgets = await in_turn(house, principal, partial(_budgets, house, registry, principal))
        return {"object": "list", "data": budgets}

    return router


def _budgets(house: House, registry: Registry, principal: Principal) -> list[dict[str, Any]]:
    keys = {f"key:{one.id}" for one in registry.tenants.page_keys(principal.tenant, None, MOST_LINES)}
    own = [
        one
        for one in house.limits.counters()
        if one.budgets
        and (
            one.scope == f"tenant:{principal.tenant}"
            or one.scope in keys
            or one.scope.startswith(f"adapter:{principal.tenant}/")
        )
    ]
    found = budgets_of(sorted(own, key=lambda one: one.scope), registry, house.journal.writer)
    return [one.model_dump(mode="json", exclude={"here"}) for one in found]


def _window(request: Request) -> tuple[int, int]:
    """Raises `BadRequest`."""
    now, query = now_ms(), request.query_params
    usual = day_of(now)[0] - (USUAL_DAYS - 1) * DAY_MS, now
    try:
        return window_ms(query.get("from"), query.get("until"), usual, MOST_DAYS)
    except InvalidInput as error:
        raise BadRequest(f"{error.message}.", param=error.param, code="invalid_value") from None


def _line(line: UsageLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "requests": line.attempts,
        "ok": line.ok,
        "failed": line.failed,
        "refused": line.refused,
        "prompt_tokens": line.prompt_tokens,
        "cached_tokens": line.cached_tokens,
        "completion_tokens": line.completion_tokens,
        "cost_dollars": line.cost_dollars,
        "unpriced": line.unpriced,
        "ttft_ms": line.ttft_ms,
    }


def _refuse_unknown(request: Request, known: tuple[str, ...]) -> None:
    """Raises `BadRequest`: a parameter that is written wrongly must not become a default."""
    for name in request.query_params:
        if name not in known:
            allowed = f"It knows {', '.join(known)}." if known else "It has none."
            raise BadRequest(
                f"'{name[:40]}' is no query parameter of this address. {allowed}",
                param=name[:40],
                code="unknown_parameter",
            )
