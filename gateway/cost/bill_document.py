"""A bill for people and programs: its sums by line and by engine, the margin, and where each figure is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.cost.allocation import PAID_BY_TENANTS, Allocation
from registry.days import date_of
from registry.engine_costs.log import CostLog
from registry.engine_costs.terms import FORMULAS
from registry.money import nano_to_dollars

HOUR_MS = 3_600_000
FORMULA_OF_LINES = {
    "busy": "bill of an engine's day · busy time / time there, by a · uncached prompt tokens + b · completion tokens",
    "marginal": "bill of an engine's day · (a · uncached prompt tokens + b · completion tokens) / time there",
    "idle": "bill of an engine's day · (time there - busy time) / time there, as the idle policy says",
    "loaded": "busy + idle; the sum of all lines is the bill, to the nano-dollar",
    "margin": "tariff - loaded",
}


@dataclass(frozen=True, slots=True)
class BillLine:
    """What falls to one tenant, or is nobody's, of one kind. Money in nano-dollars; `None`: not known."""

    kind: str
    tenant: str
    attempts: int
    marginal_nano: int | None
    busy_nano: int
    idle_nano: int
    loaded_nano: int


@dataclass(frozen=True, slots=True)
class Charged:
    """What one tenant is charged for what it used in the window."""

    tariff_nano: int | None = 0
    """`None`: for nothing of it a tariff was in force."""
    unpriced: int = 0
    """Attempts that would be charged, and for which none was."""


@dataclass(frozen=True, slots=True)
class Margin:
    """Of one tenant: what it is charged, and what it costs with all that falls to it."""

    tenant: str
    charged: Charged
    loaded_nano: int

    @property
    def margin_nano(self) -> int | None:
        """Negative where it costs more than it is charged; `None` where some of what it used has no tariff."""
        tariff_nano = self.charged.tariff_nano
        return None if tariff_nano is None or self.charged.unpriced else tariff_nano - self.loaded_nano


@dataclass(frozen=True, slots=True)
class EngineLine:
    """What one engine costs in the window."""

    engine_id: str
    nano: int
    busy_nano: int
    paid_ms: int
    uncosted_ms: int
    uncosted_attempts: int


def bill_lines(allocation: Allocation) -> list[BillLine]:
    """By kind and tenant."""
    sums: dict[tuple[str, str], list[int | None]] = {}
    for line in allocation.lines:
        of = sums.setdefault((line.kind, line.tenant), [0, 0, 0, 0])
        marginal = None if of[1] is None or line.marginal_nano is None else of[1] + line.marginal_nano
        of[:] = [(of[0] or 0) + line.attempts, marginal, (of[2] or 0) + line.busy_nano, (of[3] or 0) + line.idle_nano]
    return [
        BillLine(kind, tenant, attempts or 0, marginal, busy or 0, idle or 0, (busy or 0) + (idle or 0))
        for (kind, tenant), (attempts, marginal, busy, idle) in sorted(sums.items())
    ]


def margins(lines: list[BillLine], charged: Mapping[str, Charged]) -> list[Margin]:
    """Of every tenant that is charged something, or costs something."""
    loaded = dict.fromkeys(charged, 0)
    for line in lines:
        if line.kind in PAID_BY_TENANTS:
            loaded[line.tenant] = loaded.get(line.tenant, 0) + line.loaded_nano
    return [Margin(tenant, charged.get(tenant, Charged()), nano) for tenant, nano in sorted(loaded.items())]


def engine_lines(allocation: Allocation) -> list[EngineLine]:
    """By engine."""
    sums: dict[str, list[int]] = {}
    for day in allocation.bill.days:
        of = sums.setdefault(day.engine_id, [0, 0, 0, 0, 0])
        of[0], of[2], of[3] = of[0] + day.nano, of[2] + day.paid_ms, of[3] + day.uncosted_ms
    for line in allocation.lines:
        sums[line.engine_id][1] += line.busy_nano
    for uncosted in allocation.uncosted:
        sums.setdefault(uncosted.engine_id, [0, 0, 0, 0, 0])[4] += uncosted.attempts
    return [EngineLine(engine, *figures) for engine, figures in sorted(sums.items())]


def document(allocation: Allocation, charged: Mapping[str, Charged], log: CostLog, *, explain: bool) -> dict[str, Any]:
    """As JSON: money in dollars as decimal numbers in text. With `explain` each day of each engine, by its costs."""
    lines, bill = bill_lines(allocation), allocation.bill
    found: dict[str, Any] = {
        "since_ms": bill.since_ms,
        "until_ms": bill.until_ms,
        "cost_version": allocation.cost_version,
        "bill": nano_to_dollars(bill.nano),
        "idle_policy": allocation.idle.policy,
        "weights": "assumed" if allocation.assumed else "fitted",
        "uncosted_hours": round(bill.uncosted_ms / HOUR_MS, 6),
        "uncosted_attempts": allocation.uncosted_attempts,
        "lines": [
            {
                "kind": line.kind,
                "tenant": line.tenant or None,
                "attempts": line.attempts,
                "marginal": _dollars(line.marginal_nano),
                "busy": nano_to_dollars(line.busy_nano),
                "idle": nano_to_dollars(line.idle_nano),
                "loaded": nano_to_dollars(line.loaded_nano),
            }
            for line in lines
        ],
        "margins": [
            {
                "tenant": one.tenant,
                "tariff": _dollars(one.charged.tariff_nano),
                "unpriced": one.charged.unpriced,
                "loaded": nano_to_dollars(one.loaded_nano),
                "margin": _dollars(one.margin_nano),
            }
            for one in margins(lines, charged)
        ],
        "engines": [
            {
                "engine": one.engine_id,
                "bill": nano_to_dollars(one.nano),
                "busy": nano_to_dollars(one.busy_nano),
                "paid_hours": round(one.paid_ms / HOUR_MS, 6),
                "uncosted_hours": round(one.uncosted_ms / HOUR_MS, 6),
                "uncosted_attempts": one.uncosted_attempts,
            }
            for one in engine_lines(allocation)
        ],
    }
    if explain:
        found |= {"formulas": FORMULA_OF_LINES, "days": _days(allocation, log)}
    return found


def _dollars(nano: int | None) -> str | None:
    return None if nano is None else nano_to_dollars(nano)


def _days(allocation: Allocation, log: CostLog) -> list[dict[str, Any]]:
    lines = {line.seq: line.said for line in log.lines}
    return [
        {
            "day": date_of(day.day),
            "engine": day.engine_id,
            "bill": nano_to_dollars(day.nano),
            "weights": allocation.weights[day.day, day.engine_id].name if day.paid_ms else None,
            "costs": [
                {
                    "line": part.seq,
                    "scope": part.scope,
                    "kind": lines[part.seq].kind,
                    "formula": FORMULAS[lines[part.seq].kind],
                    "terms": dict(lines[part.seq].terms),
                    "source": lines[part.seq].source,
                    "an_hour": nano_to_dollars(part.nano_per_hour),
                    "hours": round(part.ms / HOUR_MS, 6),
                }
                for part in day.parts
            ],
        }
        for day in allocation.bill.days
    ]
