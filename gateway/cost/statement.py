"""A tenant's statement of one UTC month: what it used, what it is charged, and what the same would have cost elsewhere.

Made of two cost reports, by version and by day. What engines cost is the operator's own, and is in a statement only
when it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from gateway.cost.allocation import PAID_BY_TENANTS
from gateway.cost.report import CostLine, CostReport, total_of
from gateway.cost.report_document import dollars, line_document
from gateway.cost.report_words import sentences
from gateway.cost.reporting import Asked, report_of
from registry.days import month_of
from registry.db import now_ms
from registry.errors import InvalidInput
from registry.limits.scopes import ADAPTER, BASE, TENANT
from registry.names import SYSTEM
from registry.prices.tariffs import TariffInfo
from registry.service import Registry


@dataclass(frozen=True, slots=True)
class Statement:
    """Of one tenant and month."""

    tenant: str
    month: str
    """`YYYY-MM`."""
    made_at_ms: int
    complete: bool
    """Whether the month is over; until then it is what there is so far."""
    with_engine_costs: bool
    versions: CostReport
    days: CostReport
    tariffs: tuple[TariffInfo, ...]
    """Prices that held in the month for the tenant's requests: its own, its adapters', and those of bases."""

    @property
    def charged_nano(self) -> int | None:
        """What the tenant is charged; `None`: nothing that is known."""
        return self.versions.total.tariff_nano


def month_ms(text: str, param: str = "month") -> tuple[int, int]:
    """Begin and end of `YYYY-MM` in UTC, in milliseconds. Raises `InvalidInput`."""
    try:
        begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput(f"{param} is {text[:40]!r}; expected YYYY-MM (UTC)", param=param) from None
    return month_of(int(begin.timestamp() * 1000))


def statement_of(
    registry: Registry, tenant: str, month: str, asked: Asked, *, with_engine_costs: bool = False
) -> Statement:
    """The statement; `asked` says baselines, versions and assumptions. Raises `InvalidInput` or `NotFound`."""
    since_ms, end_ms = month_ms(month)
    at_ms = now_ms()
    if tenant == SYSTEM or since_ms > at_ms:
        fault = (
            f"tenant is {SYSTEM}, which nobody bills" if tenant == SYSTEM else f"month is {month}, which has not begun"
        )
        raise InvalidInput(
            f"{fault}; name a tenant and a month until now", param="tenant" if tenant == SYSTEM else "month"
        )
    asked = replace(asked, tenant=tenant, since_ms=since_ms, until_ms=min(end_ms, at_ms))
    asked = replace(asked, price_version=asked.price_version or registry.baselines.version())
    return Statement(
        tenant,
        f"{datetime.fromtimestamp(since_ms / 1000, UTC):%Y-%m}",
        at_ms,
        end_ms <= at_ms,
        with_engine_costs,
        _own(report_of(registry, replace(asked, by="version")), with_engine_costs),
        _own(report_of(registry, replace(asked, by="day")), with_engine_costs),
        tuple(_tariffs(registry, tenant, since_ms, end_ms)),
    )


def _own(report: CostReport, with_engine_costs: bool) -> CostReport:
    """Lines of requests, and of what the tenant pays for beside them where engine costs are wanted; never copies of its
    requests, which it did not ask for.
    """
    kinds = (*PAID_BY_TENANTS, "idle") if with_engine_costs else ("tenant",)
    lines = tuple(line for line in report.lines if line.kind in kinds)
    return replace(report, lines=lines, total=total_of(lines, report.baselines, report.tenant))


def _tariffs(registry: Registry, tenant: str, since_ms: int, end_ms: int) -> list[TariffInfo]:
    """Those that may have applied, by scope and date."""
    by_scope: dict[str, list[TariffInfo]] = {}
    for info in registry.tariffs.all():
        if info.state != "replaced" and info.effective_from_ms < end_ms and _concerns(info.scope, tenant):
            by_scope.setdefault(info.scope, []).append(info)
    held = []
    for infos in by_scope.values():
        infos.sort(key=lambda info: info.effective_from_ms)
        ends = [following.effective_from_ms for following in infos[1:]] + [end_ms]
        held += [info for info, until_ms in zip(infos, ends, strict=True) if until_ms > since_ms]
    return held


def _concerns(scope: str, tenant: str) -> bool:
    kind, _, name = scope.partition(":")
    return kind == BASE or (kind == TENANT and name == tenant) or (kind == ADAPTER and name.startswith(f"{tenant}/"))


def statement_document(statement: Statement) -> dict[str, Any]:
    """As JSON: dollars are decimal numbers in text."""
    report = statement.versions
    return {
        "tenant": statement.tenant,
        "month": statement.month,
        "complete": statement.complete,
        "made_at_ms": statement.made_at_ms,
        "since_ms": report.since_ms,
        "until_ms": report.until_ms,
        "charged_dollars": dollars(statement.charged_nano),
        "price_version": report.price_version,
        "cost_version": report.engines.cost_version if statement.with_engine_costs else None,
        "versions": [_line(statement, line) for line in report.lines],
        "days": [_line(statement, line) for line in statement.days.lines],
        "total": _line(statement, report.total),
        "tariffs": [_tariff(info) for info in statement.tariffs],
        "sentences": list(statement_sentences(statement)),
    }


def statement_sentences(statement: Statement) -> list[str]:
    """What it says, without what engines cost unless that is in it."""
    return list(sentences(statement.versions, engines=statement.with_engine_costs))


def _line(statement: Statement, line: CostLine) -> dict[str, Any]:
    document = line_document(line)
    if not statement.with_engine_costs:
        for name in ("engine_cost", "margin_dollars", "uncosted"):
            document[name] = None
        for cost in document["baselines"].values():
            cost["savings_dollars"] = cost["savings_interval_dollars"] = None
    return document


def _tariff(info: TariffInfo) -> dict[str, Any]:
    return {
        "scope": info.scope,
        "effective_from_ms": info.effective_from_ms,
        "input": dollars(info.input_nano_per_mtok),
        "cached_input": dollars(info.cached_input_nano_per_mtok),
        "output": dollars(info.output_nano_per_mtok),
        "source": info.source,
    }
