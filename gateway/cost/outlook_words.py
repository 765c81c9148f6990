"""Forecasts and jumps as sentences, and as documents that scripts read."""

from __future__ import annotations

from typing import Any

from gateway.cost.anomalies import Jump, Part
from gateway.cost.month_end import MonthEnd
from gateway.cost.outlook import Forecasts, TenantForecast
from gateway.cost.scenario_words import dollars
from registry.days import date_of
from registry.money import nano_to_dollars

MODEL = "the level of the last days, drifting, in the shape of the week; 90 % of months end within the interval"


def end_said(end: MonthEnd | None, unknown: str) -> str:
    """`$41 ($38 to $45)`; `unknown`: what it is where there is none."""
    if end is None:
        return unknown
    if end.expected_nano is None or end.low_nano is None or end.high_nano is None:
        return f"too early: {end.days} of 14 whole days"
    return f"{dollars(end.expected_nano)} ({dollars(end.low_nano)} to {dollars(end.high_nano)})"


def forecast_document(found: Forecasts) -> dict[str, Any]:
    """Dollars are decimal numbers in text; `null`: too early, or without any price."""
    return {
        "month_starts_ms": found.month_starts_ms,
        "month_ends_ms": found.month_ends_ms,
        "model": MODEL,
        "price_version": found.price_version,
        "engine_uncosted": found.engine_uncosted,
        "tenants": [_tenant(one) for one in found.tenants],
        "of_tenants": found.of_tenants,
    }


def _tenant(one: TenantForecast) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "requests": one.requests,
        "unpriced": one.unpriced,
        "tariff": _end(one.tariff),
        "engine_cost": _end(one.engine_cost),
        "baselines": {name: _end(end) for name, end in one.baselines.items()},
    }


def _end(end: MonthEnd | None) -> dict[str, Any] | None:
    if end is None:
        return None
    return {
        "booked_dollars": nano_to_dollars(end.booked_nano),
        "expected_dollars": _or_null(end.expected_nano),
        "low_dollars": _or_null(end.low_nano),
        "high_dollars": _or_null(end.high_nano),
        "days": end.days,
    }


def _or_null(nano: int | None) -> str | None:
    return None if nano is None else nano_to_dollars(nano)


def jump_said(jump: Jump) -> str:
    """What happened, and why: one sentence each."""
    spent, usual = (amount_said(amount, jump.priced) for amount in (jump.amount, jump.usual))
    said = (
        f"{jump.tenant} used {spent} on {date_of(jump.day)}, {jump.times:.1f} times what was to be expected ({usual})."
    )
    if not jump.parts:
        return said
    part = jump.parts[0]
    return f"{said} {_part_said(part)}: that is {_share(part, jump)} of the difference to a usual day."


def amount_said(amount: float, priced: bool) -> str:
    """Dollars at the tariff, or weighted tokens of a tenant without one."""
    return dollars(round(amount)) if priced else f"{amount:,.0f} weighted tokens"


def _share(part: Part, jump: Jump) -> str:
    return f"{100 * part.nano / jump.change:.0f} %" if jump.change > 0 else "most"


def _part_said(part: Part) -> str:
    where = f"key {part.key_id} on {part.model}"
    since = "" if part.version is None else f", which {part.version} answers since then"
    if part.cause == "requests" and not part.was:
        return f"New that day: {part.is_:,.0f} requests of {where}{since}"
    times = f"{part.is_ / part.was:.1f} times" if part.was else "new"
    match part.cause:
        case "requests":
            return f"More requests of {where}{since}: {part.is_:,.0f} instead of {part.was:,.0f}"
        case "price":
            return f"A higher price of {where}{since}: {times} the usual a token"
    what = "prompts" if part.cause == "prompt length" else "answers"
    return f"Longer {what} of {where}{since}: {part.is_:,.0f} tokens instead of {part.was:,.0f}"


def jump_document(jump: Jump) -> dict[str, Any]:
    """Amounts are decimal dollars in text where the tenant has a tariff, else weighted tokens in text."""
    return {
        "tenant": jump.tenant,
        "date": date_of(jump.day),
        "unit": "dollars" if jump.priced else "weighted tokens",
        "amount": _amount(jump.amount, jump),
        "expected": _amount(jump.usual, jump),
        "times": round(jump.times, 2),
        "difference": _amount(jump.change, jump),
        "parts": [
            {
                "key_id": part.key_id,
                "model": part.model,
                "version": part.version,
                "cause": part.cause,
                "amount": _amount(part.nano, jump),
                "was": float(f"{part.was:.6g}"),
                "is": float(f"{part.is_:.6g}"),
            }
            for part in jump.parts
        ],
        "sentence": jump_said(jump),
    }


def _amount(amount: float, jump: Jump) -> str:
    return nano_to_dollars(round(amount)) if jump.priced else str(round(amount))
