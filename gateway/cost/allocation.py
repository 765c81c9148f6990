"""Who the bill falls to: every nano-dollar of it to one line, by UTC day and engine. Pure.

Of an engine's day, with `bill` nano-dollars for `there` milliseconds of which the engine was busy for `busy`:

    busy part      bill · busy / there
      of a job that trains      bill · its milliseconds / there
      of loads                  bill · time in which loads ran and no attempt / there, by their milliseconds
      of attempts, by tokens    rest · w / W,  w = a · uncached prompt tokens + b · completion tokens
      of those of before        bill · time in which only attempts of the day before ran / there, by that day's w
    idle part      bill - busy part, divided among tenants as the idle policy says; what it leaves is the line `idle`
    marginal       bill · w / there, where a and b are known in time; no more than the busy part

`there` is all of the time in which it was paid for or there. Tokens that a prefix cache had cost nothing here. Shares
are rounded by largest remainder, lines in their order: their sum is the bill, exactly, and the same figures always come
of the same facts. A tenant's part is worked out first and then divided among its lines, so it does not depend on what
the lines are kept apart by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from math import lcm
from typing import Literal, NamedTuple, get_args

from gateway.cost.bill import BilledDay, EngineBill
from gateway.cost.whole import largest_remainder
from registry.days import DAY_MS
from registry.engine_costs.busy import BusyTime
from registry.errors import InvalidInput

LineKind = Literal["tenant", "training", "loads", "experiments", "shadow", "system", "idle"]
TIMED: tuple[LineKind, ...] = ("training", "loads")
"""Of which is known for how long they kept an engine, and which have no tokens."""
PAID_BY_TENANTS: tuple[LineKind, ...] = ("tenant", "training", "loads")
IdlePolicy = Literal["unallocated", "by_share", "equal", "reserved"]
"""`by_share`: by what tenants cost while the engine was busy that day, or in all of the window where none was;
`equal`: as much for each tenant that used anything in the window; `reserved`: by shares that are agreed upon."""
SHARE_UNITS = 10**9
"""Of which a reserved share is a whole number."""
Key = tuple[str | int, ...]
"""What lines are kept apart by, beside tenant, day and engine: as the caller asked for."""


class Work(NamedTuple):
    """What one line used of an engine on one day. There may be 100,000 of them: what is done with each is written out,
    and their order is that of their first fields.
    """

    day: int
    engine_id: str
    kind: LineKind
    tenant: str
    key: Key
    attempts: int = 0
    uncached_tokens: int = 0
    """Of prompts."""
    completion_tokens: int = 0
    engine_ms: int = 0
    """Of a load, or of a job that trains: how long it took."""
    answered: int = 0
    """Of the attempts, those that ended well, or that their client left."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much an engine works for a token, in picoseconds of its time; where they are `assumed`, only in proportion
    to each other.
    """

    uncached_ps: int
    completion_ps: int
    assumed: bool
    name: str
    """For people: which fit, or that it is assumed."""


ASSUMED = Weights(1, 4, assumed=True, name="assumed: a completion token is 4 uncached prompt tokens")


@dataclass(frozen=True, slots=True)
class Idle:
    """Who idle time falls to. `shares`: of `reserved`, tenant → part of `SHARE_UNITS`."""

    policy: IdlePolicy = "unallocated"
    shares: Mapping[str, int] = field(default_factory=dict)


class AllocatedLine(NamedTuple):
    """What one line costs of an engine's day, in nano-dollars. Its order is that of its first fields."""

    day: int
    engine_id: str
    kind: LineKind
    tenant: str
    """Empty: of nobody."""
    key: Key
    """Empty where the line is of a tenant that used nothing there, or of nobody."""
    attempts: int
    marginal_nano: int | None
    """`None`: not known, as the weights are assumed."""
    busy_nano: int
    idle_nano: int
    """Its part of the idle time; all of what is left of it, on a line of kind `idle`."""

    @property
    def loaded_nano(self) -> int:
        """Busy and idle part."""
        return self.busy_nano + self.idle_nano


@dataclass(frozen=True, slots=True)
class UncostedDay:
    """A day for some of which an engine was there, or was used, without a cost. That is not free: nobody knows what it
    cost.
    """

    day: int
    engine_id: str
    ms: int
    """In which it was there without a cost."""
    attempts: int
    """All of the day's: nobody knows which of them ran while it had none."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """The bill of a window, on lines. The sum of their `loaded_nano` is the bill."""

    bill: EngineBill
    idle: Idle
    lines: tuple[AllocatedLine, ...]
    """By day, engine, kind, tenant and key."""
    uncosted: tuple[UncostedDay, ...]
    weights: Mapping[tuple[int, str], Weights]
    """In force by day and engine, where anything was allocated by tokens."""
    uncosted_works: tuple[Work, ...] = ()
    """Attempts of uncosted days."""
    cost_version: str = ""
    """With it the registry makes the same again."""

    @property
    def uncosted_attempts(self) -> int:
        """Attempts on engines that had no cost for some of their day."""
        return sum(day.attempts for day in self.uncosted)

    @property
    def assumed(self) -> bool:
        """Whether any of it was divided by weights that nobody has measured."""
        return any(one.assumed for one in self.weights.values())


def idle_of(policy: str, shares: Mapping[str, str] | None = None) -> Idle:
    """A policy by its name, shares as decimal numbers in text. Raises `InvalidInput`."""
    if policy not in get_args(IdlePolicy):
        raise InvalidInput(f"idle is {policy[:40]!r}; choose one of {', '.join(get_args(IdlePolicy))}", param="idle")
    units = {}
    for tenant, text in (shares or {}).items():
        try:
            exact = Decimal(text) * SHARE_UNITS
        except ArithmeticError:
            exact = Decimal("NaN")
        if not exact.is_finite() or not 0 < exact <= SHARE_UNITS or exact != exact.to_integral_value():
            raise InvalidInput(
                f"share of {tenant} is {text[:40]!r}; expected a number above 0, at most 1, such as 0.25", param="share"
            )
        units[tenant] = int(exact)
    if sum(units.values()) > SHARE_UNITS:
        raise InvalidInput("share: the shares come to more than 1", param="share")
    if (policy == "reserved") != bool(units):
        need = "needs shares of tenants" if policy == "reserved" else "has no shares"
        raise InvalidInput(f"idle is {policy}, which {need} (--share acme=0.5)", param="share")
    return Idle(policy, units)  # type: ignore[arg-type]


MOST_REMEMBERED = 200_000
"""Lines, which are some 80 MB with their facts."""


class Remembered:
    """Engines' days that were allocated lately, with the facts that they were allocated by: of equal facts comes what
    came before. For a process that is asked several things of the same days, as it takes the memory of all of them.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[_Facts, list[AllocatedLine]]] = {}
        self._lines = 0

    def lines_of(self, facts: _Facts) -> list[AllocatedLine]:
        """As `_lines_of`."""
        place = facts.day.day, facts.day.engine_id
        known = self._known.get(place)
        if known is not None and known[0] == facts:
            return known[1]
        lines = _lines_of(facts)
        self._lines += len(lines) - (0 if known is None else len(known[1]))
        if self._lines > MOST_REMEMBERED:
            self._known.clear()
            self._lines = len(lines)
        self._known[place] = facts, lines
        return lines


REMEMBERED: ContextVar[Remembered | None] = ContextVar("remembered", default=None)
"""Where a process keeps them, if it does."""


def allocate(
    bill: EngineBill,
    busy: Mapping[tuple[int, str], BusyTime],
    works: Iterable[Work],
    weights: Mapping[tuple[int, str], Weights],
    idle: Idle,
    before: Iterable[Work] = (),
) -> Allocation:
    """The lines of a bill. `busy` and `weights` are by day and engine; where no weights are, they are assumed.
    `before`: attempts of the day before the window, which may have run into it.
    """
    by_day = _by_day(works)
    billed = {(day.day, day.engine_id): day for day in bill.days}
    first = bill.since_ms // DAY_MS
    carried = _by_day(work._replace(day=first) for work in before)
    carried |= {(day + 1, engine): of for (day, engine), of in by_day.items() if day >= first}
    places: list[list[AllocatedLine]] = []
    used: dict[tuple[int, str], Weights] = {}
    remembered = REMEMBERED.get()
    lines_of = _lines_of if remembered is None else remembered.lines_of
    for place, day in sorted(billed.items()):
        if day.paid_ms:
            used[place] = weights.get(place, ASSUMED)
            busy_time = busy.get(place, BusyTime(0))
            places.append(lines_of(_Facts(day, by_day.get(place, []), carried.get(place, []), busy_time, used[place])))
    lines = tuple(line for of in _with_idle(places, idle) for line in sorted(of))
    uncosted = tuple(_uncosted(billed, by_day))
    unpaid = (work for day in uncosted for work in by_day.get((day.day, day.engine_id), ()) if work.answered)
    return Allocation(bill, idle, lines, uncosted, used, tuple(unpaid))


def _by_day(works: Iterable[Work]) -> dict[tuple[int, str], list[Work]]:
    """By day and engine, in order."""
    found: dict[tuple[int, str], list[Work]] = {}
    for work in works:
        found.setdefault(work[:2], []).append(work)
    for of in found.values():
        of.sort()
    return found


class _Facts(NamedTuple):
    """All that the lines of an engine's day follow from, but for the idle policy. `earlier`: attempts of the day
    before.
    """

    day: BilledDay
    works: Sequence[Work]
    earlier: Sequence[Work]
    busy: BusyTime
    weights: Weights


def _lines_of(facts: _Facts) -> list[AllocatedLine]:
    groups = _groups(facts.works, facts.earlier, facts.busy, facts.weights)
    return _busy_lines(facts.day, facts.works, groups, facts.weights)


Group = tuple[int, list[tuple[Work, int]]]
"""Milliseconds of an engine's day, and in which proportion they are whose."""


def _groups(works: Sequence[Work], earlier: Sequence[Work], busy: BusyTime, weights: Weights) -> list[Group]:
    """Of the busy time; `earlier` are attempts of the day before."""
    loads = [(work, work.engine_ms) for work in works if work.kind == "loads"]
    own = _by_tokens(works, weights)
    carried = _by_tokens(earlier, weights) if busy.carried_ms or not own else []
    own_ms, carried_ms = busy.ms - busy.load_ms - busy.carried_ms, busy.carried_ms
    if not carried:  # nobody knows whose those of before were
        own_ms, carried_ms = own_ms + carried_ms, 0
    elif not own:
        own_ms, carried_ms = 0, own_ms + carried_ms
    training = [(work.engine_ms, [(work, 1)]) for work in works if work.kind == "training"]
    groups = [*training, (busy.load_ms, loads), (own_ms, own), (carried_ms, carried)]
    return [(ms, of) for ms, of in groups if ms and of]


def _by_tokens(works: Sequence[Work], weights: Weights) -> list[tuple[Work, int]]:
    """Attempts by how much an engine works for their tokens, or all alike where nobody has counted any of these."""
    attempts = [work for work in works if work.kind not in TIMED]
    found = [(work, _work_of(work, weights)) for work in attempts]
    if not any(units for _, units in found):
        found = [(work, work.attempts) for work in attempts]
    return [(work, units) for work, units in found if units]


def _busy_lines(
    day: BilledDay, works: Sequence[Work], groups: Sequence[Group], weights: Weights
) -> list[AllocatedLine]:
    """What each line costs while the engine is busy, and the idle part as a line of nobody, the last."""
    found: dict[tuple[LineKind, str, Key], list[int]] = {}  # attempts, picoseconds of their work, part of the bill
    for work in works:
        line = found.setdefault(work[2:5], [0, 0, 0])
        line[0] += work.attempts
        line[1] += _work_of(work, weights)
    unit = lcm(*(sum(units for _, units in of) for _, of in groups))
    for ms, of in groups:
        each = ms * (unit // sum(units for _, units in of))
        for work, units in of:
            found.setdefault(work[2:5], [0, 0, 0])[2] += each * units
    busy_ms = sum(ms for ms, _ in groups)
    there_ms = max(day.paid_ms + day.uncosted_ms, busy_ms)
    by_tenant = [list(of) for _, of in groupby(sorted(found.items()), key=lambda item: item[0][:2])]
    sums = [sum(line[2] for _, line in of) for of in by_tenant]
    *shares, idle_nano = largest_remainder(day.nano, [*sums, (there_ms - busy_ms) * unit])
    lines = []
    for share, own in zip(shares, by_tenant, strict=True):
        parts = [share] if len(own) == 1 else largest_remainder(share, [line[2] for _, line in own])
        for ((kind, tenant, key), (attempts, work_ps, _)), nano in zip(own, parts, strict=True):
            marginal = nano if kind in TIMED else _marginal(work_ps, weights, day.nano, there_ms, nano)
            lines.append(AllocatedLine(day.day, day.engine_id, kind, tenant, key, attempts, marginal, nano, 0))
    lines.append(AllocatedLine(day.day, day.engine_id, "idle", "", (), 0, 0, 0, idle_nano))
    return lines


def _work_of(work: Work, weights: Weights) -> int:
    """Corrections may be in it, so counts may be negative."""
    read, written = work.uncached_tokens, work.completion_tokens
    return (weights.uncached_ps * read if read > 0 else 0) + (weights.completion_ps * written if written > 0 else 0)


def _marginal(work_ps: int, weights: Weights, nano: int, there_ms: int, busy_nano: int) -> int | None:
    """What its own work costs at the pace of the fit: what the engine does beside it, or waits for, is not in it."""
    return None if weights.assumed else min(busy_nano, nano * work_ps // (there_ms * 10**9))


def _with_idle(places: list[list[AllocatedLine]], idle: Idle) -> list[list[AllocatedLine]]:
    """The idle part of each engine's day on the tenants' lines, as far as the policy gives it to anybody."""
    if idle.policy == "unallocated":
        return places
    of_window = _busy_of_tenants(line for of in places for line in of)
    return [_spread(of, _parts(idle, _busy_of_tenants(of), of_window)) for of in places]


def _busy_of_tenants(lines: Iterable[AllocatedLine]) -> dict[str, int]:
    busy: dict[str, int] = {}
    for line in lines:
        if line.kind in PAID_BY_TENANTS:
            busy[line.tenant] = busy.get(line.tenant, 0) + line.busy_nano
    return busy


def _parts(idle: Idle, of_day: Mapping[str, int], of_window: Mapping[str, int]) -> dict[str, int]:
    """Tenant → its part of an engine's idle day; `""`: nobody's."""
    match idle.policy:
        case "by_share":
            parts = dict(of_day if any(of_day.values()) else of_window)
        case "equal":
            parts = dict.fromkeys(of_window, 1)
        case _:
            parts = {**idle.shares, "": SHARE_UNITS - sum(idle.shares.values())}
    return parts if any(parts.values()) else {"": 1}


def _spread(lines: Sequence[AllocatedLine], parts: Mapping[str, int]) -> list[AllocatedLine]:
    """An engine's day, whose last line is the idle part, with that on the tenants' lines."""
    *busy, rest = lines
    order = sorted(parts)
    nano_of = dict(zip(order, largest_remainder(rest.idle_nano, [parts[tenant] for tenant in order]), strict=True))
    spread = [rest._replace(idle_nano=nano_of.pop("", 0))]
    own: dict[str, list[AllocatedLine]] = {}
    for line in busy:
        if line.kind in PAID_BY_TENANTS and line.tenant in nano_of:
            own.setdefault(line.tenant, []).append(line)
        else:
            spread.append(line)
    for tenant, nano in nano_of.items():
        lines = own.get(tenant) or [rest._replace(kind="tenant", tenant=tenant, idle_nano=0)]
        shares = [nano] if len(lines) == 1 else largest_remainder(nano, [line.busy_nano for line in lines])
        spread += [AllocatedLine(*line[:-1], share) for line, share in zip(lines, shares, strict=True)]
    return spread


def _uncosted(
    billed: Mapping[tuple[int, str], BilledDay], by_day: Mapping[tuple[int, str], Sequence[Work]]
) -> list[UncostedDay]:
    found = []
    for place in sorted(billed.keys() | by_day.keys()):
        day = billed.get(place)
        paid, ms = (0, 0) if day is None else (day.paid_ms, day.uncosted_ms)
        attempts = sum(work.attempts for work in by_day.get(place, ())) if ms or not paid else 0
        if ms or attempts:
            found.append(UncostedDay(*place, ms, attempts))
    return found
