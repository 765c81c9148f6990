"""What engines cost, on the lines of a cost report: the allocation of the bill, under the lines' names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gateway.cost.allocation import AllocatedLine, Allocation
from gateway.cost.bill import BilledDay
from gateway.cost.report import (
    EngineCost,
    EngineDay,
    EngineSide,
    LineKey,
    Window,
    key_of,
    known_sum,
    line_key,
    marginal_sum,
)
from registry.days import date_of
from registry.engine_costs.log import NOTHING
from registry.ledger.usage_cells import UsageCell


def engine_side(allocation: Allocation, cells: Sequence[UsageCell], window: Window) -> EngineSide:
    """`cells` are all tenants', kept apart by the columns that the allocation is kept apart by; the lines are those of
    the window's tenant alone, if it has one.
    """
    names = {(cell.tenant, cell.shadow, cell.key): cell.name for cell in cells}
    parts: dict[LineKey, list[AllocatedLine]] = {}
    for line in allocation.lines:
        if window.tenant in (None, line.tenant):
            parts.setdefault(_key_of(line, names, window), []).append(line)
    uncosted = _uncosted(allocation, cells, window)
    bills = {(day.day, day.engine_id): day for day in allocation.bill.days}
    return EngineSide(
        lines={
            key: EngineCost(
                marginal_sum((line.marginal_nano, line.busy_nano) for line in parts.get(key, ())),
                known_sum(line.busy_nano for line in parts.get(key, ())),
                known_sum(line.loaded_nano for line in parts.get(key, ())),
                uncosted.get(key, 0),
            )
            for key in parts.keys() | uncosted.keys()
        },
        days={key: tuple(_days(of, bills)) for key, of in parts.items()},
        bill_nano=None if allocation.bill.log_version == NOTHING else allocation.bill.nano,
        cost_version=allocation.cost_version,
        idle_policy=allocation.idle.policy,
        weights=tuple(sorted({one.name for one in allocation.weights.values()})),
    )


def _key_of(line: AllocatedLine, names: dict[tuple[str, bool, tuple[str | int, ...]], str], window: Window) -> LineKey:
    """The line that a part of the bill is on. What is no request has a line of its own, beside those of its tenant."""
    place = {"day": date_of(line.day), "engine": line.engine_id}.get(window.by)
    tenant = window.tenant if place is not None else line.tenant or None
    name = names.get((line.tenant, line.kind == "shadow", line.key))
    if line.kind in ("tenant", "shadow", "system") and (place or name):
        return line_key(line.kind, tenant, place or name or "", window)
    what = "idle" if line.kind == "tenant" else line.kind  # a tenant that used nothing there has its part of idle time
    of = place or line.tenant
    return LineKey(what, tenant, f"{of} ({what})" if of else f"({what})")


def _uncosted(allocation: Allocation, cells: Iterable[UsageCell], window: Window) -> dict[LineKey, int]:
    """Answered requests on engines that had no cost that day."""
    unknown = {(day.day, day.engine_id) for day in allocation.uncosted if day.attempts}
    found: dict[LineKey, int] = {}
    for cell in cells:
        if (cell.day, cell.engine) in unknown and window.tenant in (None, cell.tenant):
            key = key_of(cell, window)
            found[key] = found.get(key, 0) + cell.requests
    return found


def _days(lines: Sequence[AllocatedLine], bills: Mapping[tuple[int, str], BilledDay]) -> Iterator[EngineDay]:
    """By day and engine, in order."""
    by_place: dict[tuple[int, str], list[AllocatedLine]] = {}
    for line in lines:
        by_place.setdefault((line.day, line.engine_id), []).append(line)
    for (day, engine_id), of in sorted(by_place.items()):
        bill = bills[day, engine_id]
        yield EngineDay(
            day,
            engine_id,
            bill.nano,
            EngineCost(
                marginal_sum((line.marginal_nano, line.busy_nano) for line in of),
                sum(line.busy_nano for line in of),
                sum(line.loaded_nano for line in of),
            ),
            tuple(sorted(part.seq for part in bill.parts)),
        )
