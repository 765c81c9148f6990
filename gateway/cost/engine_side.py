"""What engines cost, on the lines of a cost report: the allocation of the bill, under the lines' names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.cost.allocation import AllocatedLine, Allocation, Key, LineKind, Work
from gateway.cost.report import EngineCost, EngineSide, LineKey, Window, known_sum, line_key
from registry.days import date_of
from registry.engine_costs.log import NOTHING
from registry.ledger.usage_cells import UsageCell

REQUESTS: tuple[LineKind, ...] = ("tenant", "shadow", "system")
"""Kinds of lines that requests are on."""


@dataclass(frozen=True, slots=True)
class EngineDay:
    """What a line has of one engine's bill of one UTC day."""

    day: int
    engine_id: str
    bill_nano: int
    """Of all lines."""
    cost: EngineCost
    rows: tuple[int, ...]
    """Lines of the log of engine costs that the bill is by."""


def engine_side(allocation: Allocation, cells: Sequence[UsageCell], window: Window) -> EngineSide:
    """`cells` are all tenants', kept apart by the columns that the allocation is kept apart by; the lines are those of
    the window's tenant alone, if it has one.
    """
    key_of = _keys(cells, window)
    parts: dict[LineKey, list[AllocatedLine]] = {}
    for line in allocation.lines:
        if window.tenant is None or line.tenant == window.tenant:
            parts.setdefault(key_of(line), []).append(line)
    uncosted = _uncosted(allocation.uncosted_works, key_of, window)
    return EngineSide(
        lines={key: _cost_of(parts.get(key, ()), uncosted.get(key, 0)) for key in parts.keys() | uncosted.keys()},
        parts=parts,
        bills={(day.day, day.engine_id): day for day in allocation.bill.days},
        bill_nano=None if allocation.bill.log_version == NOTHING else allocation.bill.nano,
        cost_version=allocation.cost_version,
        idle_policy=allocation.idle.policy,
        weights=tuple(sorted({one.name for one in allocation.weights.values()})),
    )


def days_of(engines: EngineSide, line: LineKey) -> Iterator[EngineDay]:
    """What a line's engine costs are the sums of, by day and engine, in order."""
    by_place: dict[tuple[int, str], list[AllocatedLine]] = {}
    for one in engines.parts.get(line, ()):
        by_place.setdefault((one.day, one.engine_id), []).append(one)
    for (day, engine_id), of in sorted(by_place.items()):
        bill = engines.bills[day, engine_id]
        yield EngineDay(day, engine_id, bill.nano, _cost_of(of), tuple(sorted(part.seq for part in bill.parts)))


def _cost_of(lines: Sequence[AllocatedLine], uncosted: int = 0) -> EngineCost:
    if not lines:
        return EngineCost(uncosted=uncosted)
    unknown = any(line.marginal_nano is None and line.busy_nano for line in lines)
    return EngineCost(
        None if unknown else known_sum(line.marginal_nano for line in lines),
        sum(line.busy_nano for line in lines),
        sum(line.loaded_nano for line in lines),
        uncosted,
    )


def _keys(cells: Iterable[UsageCell], window: Window) -> Callable[[AllocatedLine | Work], LineKey]:
    """The line that a part of the bill, or an attempt, is on. Asked for each of very many, which are on few."""
    names = {(cell.tenant, cell.shadow, cell.key): cell.name for cell in cells}
    known: dict[tuple[object, ...], LineKey] = {}
    place_at = {"day": 0, "engine": 1}.get(window.by)

    def key_of(one: AllocatedLine | Work) -> LineKey:
        place = None if place_at is None else one[place_at]
        of = (place, one.kind, one.tenant, one.key)
        found = known.get(of)
        if found is None:
            found = known[of] = _key_of(one.kind, one.tenant, one.key, _named(place), names, window)
        return found

    return key_of


def _named(place: object) -> str | None:
    return date_of(place) if isinstance(place, int) else None if place is None else str(place)


def _key_of(
    kind: LineKind, of: str, key: Key, place: str | None, names: dict[tuple[str, bool, Key], str], window: Window
) -> LineKey:
    """What is no request has a line of its own, beside those of its tenant."""
    tenant = window.tenant if place is not None else of or None
    name = names.get((of, kind == "shadow", key)) if place is None else place
    if kind in REQUESTS and name is not None:
        return line_key(kind, tenant, name, window)
    what = "idle" if kind == "tenant" else kind  # a tenant that used nothing there has its part of idle time
    where = place or of
    return LineKey(what, tenant, f"{where} ({what})" if where else f"({what})")


def _uncosted(
    works: Iterable[Work], key_of: Callable[[AllocatedLine | Work], LineKey], window: Window
) -> dict[LineKey, int]:
    """Answered requests on engines that had no cost that day."""
    found: dict[LineKey, int] = {}
    for work in works:
        if window.tenant is None or work.tenant == window.tenant:
            key = key_of(work)
            found[key] = found.get(key, 0) + work.answered
    return found
