"""Who used what: attempts and tokens of a window by tenant, adapter, version, key, day, split or arm.

Copies of requests, which nobody pays for, have lines of their own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import String, Subquery, and_, case, func, literal, select

from registry.days import date_of
from registry.db import Database
from registry.errors import InvalidInput
from registry.ledger.line_names import NONE, naming
from registry.ledger.models import model_of
from registry.ledger.refusals import within
from registry.ledger.rows import DAY_SUMS, RefusalDay
from registry.ledger.usage_days import BILLED, usage_between
from registry.money import nano_to_dollars
from registry.names import SYSTEM

By = Literal["tenant", "adapter", "version", "key", "day", "split", "arm"]
"""What one line stands for. Base models are adapters and versions of their own name."""
SHADOW = " (shadow)"
"""Ends the name of a line of copies."""


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Attempts that began in the window. Tokens are sums over attempts that have a count, corrections included."""

    tenant: str | None
    """`None` where a line is of all tenants: by day, unless one tenant was asked for."""
    name: str
    """The tenant, `tenant/adapter`, `tenant/adapter@1.0`, a key's id, `YYYY-MM-DD` (UTC), or
    `tenant/adapter@alias split 3`, with `: 1.0` behind it for an arm.
    """
    attempts: int
    ok: int
    client_aborted: int
    key_revoked: int
    """Ended as the key was revoked, or reached its end."""
    failed: int
    """By an engine, by a load, or by a gateway that stopped or died."""
    rejected: int
    partial: int
    """Attempts with the engine's count up to where they broke off."""
    estimated: int
    """Attempts whose prompt was guessed, and whose completion nobody counted."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_nano: int
    """At the tariff, corrections included; `cost_dollars` as people write it."""
    unpriced: int
    """Attempts that somebody would pay for, and for which no price was in force."""
    busy_ms: int
    """Sum of the attempts' durations."""
    refused: int
    """Requests that never became attempts: by limits and budgets, as bad requests, or because nothing could serve."""
    refused_by_reason: Mapping[str, int]
    """A limit's name or an error's code → so many of them."""
    ttft_ms: float | None
    """Mean time to the first bytes of a streamed answer, of attempts that had one."""
    payable: int
    """Attempts that a tenant pays for where there is a price: no failures, no refusals, no copies, none of our own
    probes.
    """
    shadow: bool = False
    """Whether its attempts are copies of requests, whose answers nobody got: then `cost_nano` is what they would have
    cost, and nobody is charged with it.
    """

    @property
    def cost_dollars(self) -> str | None:
        """All decimals that count; `None` when nothing of it had a price, as our own probes and failures have none."""
        nothing = self.attempts and not self.cost_nano and self.unpriced >= self.payable
        return None if nothing else nano_to_dollars(self.cost_nano)


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Lines of a window `[since_ms, until_ms)`, by name. `next` is the `after` of the next page."""

    by: By
    tenant: str | None
    """The only one that was asked for."""
    since_ms: int
    until_ms: int
    lines: tuple[UsageLine, ...]
    next: str | None


def report_usage(
    db: Database,
    by: str,
    *,
    since_ms: int = 0,
    until_ms: int,
    tenants: Collection[str] | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> UsageReport:
    """At most `limit` lines whose mark comes after `after`, of all tenants or of these. Raises `InvalidInput` for an
    unknown `by`.
    """
    if by not in get_args(By):
        raise InvalidInput(f"by is {by[:40]!r}; choose one of {', '.join(get_args(By))}", param="by")
    found = [line for line in _lines(db, by, since_ms, until_ms, tenants) if after is None or _mark(line) > after]
    page = found if limit is None else found[:limit]
    following = _mark(page[-1]) if len(page) < len(found) else None
    return UsageReport(by, _only(tenants), since_ms, until_ms, tuple(page), following)  # type: ignore[arg-type]


def usage_csv(lines: Iterable[UsageLine]) -> str:
    """The lines with a heading; empty cells for what is not known. Money is in dollars."""
    text = io.StringIO()
    names = ["cost_dollars" if field.name == "cost_nano" else field.name for field in fields(UsageLine)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(getattr(line, name)) for name in names] for line in lines)
    return text.getvalue()


def reasons_said(line: UsageLine) -> str:
    """Why requests were refused, the most frequent reason first: `daily_dollars 12, model_not_found 1`."""
    found = sorted(line.refused_by_reason.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {count}" for reason, count in found)


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return " ".join(f"{reason}={count}" for reason, count in sorted(value.items()))
    return value


def _mark(line: UsageLine) -> str:
    return f"{line.tenant or '*'} {line.name}"


def _only(tenants: Collection[str] | None) -> str | None:
    """The tenant, if there is but one."""
    return next(iter(tenants)) if tenants is not None and len(tenants) == 1 else None


def _lines(db: Database, by: str, since_ms: int, until_ms: int, tenants: Collection[str] | None) -> list[UsageLine]:
    totals: dict[_LineKey, list[int]] = {}
    with db.read() as session:
        between = usage_between(session, since_ms, until_ms)
        named, figures = naming(by, between), _figures(between)
        owner = (literal(_only(tenants), String) if by == "day" else between.c.tenant).label("owner")
        query = select(owner, between.c.shadow, *named.columns, *map(func.sum, figures.values()))
        query = query.select_from(named.rows).group_by("owner", between.c.shadow, *named.columns)
        if tenants is not None:
            query = query.where(between.c.tenant.in_(tenants))
        for owned_by, shadow, *found in session.execute(query):
            name = named.name(*found[: len(named.columns)])
            key = _LineKey(owned_by, name + SHADOW if shadow else name, bool(shadow))
            sums = map(int, found[len(named.columns) :])
            totals[key] = [a + b for a, b in zip(totals[key], sums, strict=True)] if key in totals else list(sums)
    refusals = _refusals(db, by, since_ms, until_ms, tenants)
    for key in refusals.keys() - totals.keys():
        totals[key] = [0] * len(figures)
    lines = (_line(key, dict(zip(figures, sums, strict=True)), refusals.get(key, {})) for key, sums in totals.items())
    return sorted(lines, key=_mark)


def _figures(between: Subquery) -> dict[str, Any]:
    """What is added up, by its name."""
    used = between.c
    billed = and_(used.outcome.in_(BILLED), used.tenant != SYSTEM, used.shadow.is_(False))
    figures: dict[str, Any] = {name: used[name] for name in DAY_SUMS}
    figures |= {one: case((used.outcome == one, used.attempts), else_=0) for one in (*BILLED, "rejected")}
    return figures | {"payable": case((billed, used.attempts), else_=0)}


class _LineKey(NamedTuple):
    """What lines are told apart by."""

    tenant: str | None
    name: str
    shadow: bool = False


def _refusals(
    db: Database, by: str, since_ms: int, until_ms: int, tenants: Collection[str] | None
) -> dict[_LineKey, dict[str, int]]:
    """By line and reason."""
    if since_ms >= until_ms:
        return {}
    row = RefusalDay
    of_none = literal("", String)
    names: dict[str, Any] = {"tenant": row.tenant, "key": row.key_id, "day": row.day, "split": of_none, "arm": of_none}
    owner = literal(_only(tenants), String) if by == "day" else row.tenant
    groups = (owner.label("owner"), names.get(by, row.model).label("name"), row.reason)
    query = select(*groups, func.sum(row.refused)).where(within(since_ms, until_ms))
    query = query.group_by("owner", "name", row.reason)
    if tenants is not None:
        query = query.where(row.tenant.in_(tenants))
    found: dict[_LineKey, dict[str, int]] = {}
    with db.read() as session:
        for owned_by, named, reason, count in session.execute(query):
            name = date_of(named) if by == "day" else model_of(None, named) if by == "adapter" else named
            reasons = found.setdefault(_LineKey(owned_by, name or NONE), {})
            reasons[reason] = reasons.get(reason, 0) + int(count)
    return found


def _line(key: _LineKey, sums: Mapping[str, int], refused: Mapping[str, int]) -> UsageLine:
    ttft_us, with_ttft = sums["ttft_us"], sums["with_ttft"]
    as_summed: dict[str, Any] = {field.name: sums[field.name] for field in fields(UsageLine) if field.name in sums}
    return UsageLine(
        tenant=key.tenant,
        name=key.name,
        shadow=key.shadow,
        **as_summed,
        failed=sums["attempts"] - sum(sums[one] for one in (*BILLED, "rejected")),
        refused=sum(refused.values()),
        refused_by_reason=dict(sorted(refused.items())),
        ttft_ms=round(ttft_us / with_ttft / 1000, 1) if with_ttft else None,
    )
