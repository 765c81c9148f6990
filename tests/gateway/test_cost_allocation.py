"""Every nano-dollar of the bill is on one line, whatever happened."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from gateway.cost import allocation as allocation_module
from gateway.cost.allocation import (
    REMEMBERED,
    Allocation,
    Idle,
    LineKind,
    Remembered,
    Weights,
    Work,
    allocate,
    idle_of,
)
from gateway.cost.bill import EngineBill, JobSpan, bill_of
from registry.chained_log import digest_after
from registry.days import DAY_MS
from registry.engine_costs.busy import BusyTime
from registry.engine_costs.log import CostLog, CostSaid, HourlyCost
from registry.engine_costs.spans import EngineSpan
from registry.errors import InvalidInput
from registry.money import NANO

HOUR = 3_600_000
ENGINES = ("a", "b", "c")
SCOPES = ("engine:a", "engine:b", "host:h", "pool:p", "*", "trainer")
POLICIES = (
    Idle(),
    Idle("by_share"),
    Idle("equal"),
    idle_of("reserved", {"acme": "0.333333333", "nobody-here": "0.1"}),
)


def log_of(*lines: tuple[str, str, int, int]) -> CostLog:
    """Of scope, kind, nano-dollars an hour, and from when."""
    found: list[HourlyCost] = []
    for seq, (scope, kind, nano, from_ms) in enumerate(lines, 1):
        said = CostSaid(scope, kind, nano, {}, from_ms, False, "test", "me")
        digest = digest_after(found[-1].digest if found else "", seq, 0, asdict(said))
        found.append(HourlyCost(seq, 0, digest, said))
    return CostLog(tuple(found))


def stay(engine: str, from_ms: int, until_ms: int, host: str = "h1", pool: str | None = None) -> EngineSpan:
    return EngineSpan(engine, host, pool, "sha256:b", "vllm on gpu", from_ms, until_ms, False, False)


def work(engine: str = "a", tenant: str = "acme", day: int = 0, key: str = "", **used: int) -> Work:
    return Work(day, engine, "tenant", tenant, (key,), **{"attempts": 1, **used})


def by_tenant(allocation: Allocation) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for line in allocation.lines:
        name = line.tenant or line.kind
        found[name] = found.get(name, 0) + line.loaded_nano
    return found


def instant(draw: random.Random) -> int:
    """In three days; often at midnight, where mistakes are."""
    return draw.choice((draw.randrange(3 * DAY_MS), draw.randrange(4) * DAY_MS))


def window(draw: random.Random) -> tuple[int, int]:
    """Of two instants the earlier and the later."""
    one, other = instant(draw), instant(draw)
    return min(one, other), max(one, other)


def drawn_log(draw: random.Random) -> CostLog:
    kinds = ("on_demand", "reserved", "owned", "spot", "ended")
    return log_of(
        *(
            (draw.choice(SCOPES), draw.choice(kinds), draw.choice((0, 1, draw.randrange(50 * NANO))), instant(draw))
            for _ in range(draw.randrange(9))
        )
    )


def drawn_stays(draw: random.Random) -> list[EngineSpan]:
    """Engines that come and go, some of them twice at once."""
    return [
        stay(draw.choice(ENGINES), *window(draw), draw.choice("hi"), draw.choice((None, "p")))
        for _ in range(draw.randrange(7))
    ]


def drawn_busy(draw: random.Random) -> BusyTime:
    ms = draw.choice((0, draw.randrange(DAY_MS)))
    load_ms = draw.choice((0, draw.randrange(ms + 1)))
    return BusyTime(ms, load_ms, draw.choice((0, ms - load_ms)))


def drawn_works(draw: random.Random) -> list[Work]:
    kinds: tuple[LineKind, ...] = ("tenant", "tenant", "shadow", "system")
    loads = [
        Work(draw.randrange(3), draw.choice(ENGINES), "loads", "acme", ("", number), engine_ms=draw.randrange(DAY_MS))
        for number in range(draw.randrange(3))
    ]
    return loads + [
        Work(
            draw.randrange(3),
            draw.choice((*ENGINES, "gone")),
            draw.choice(kinds),
            draw.choice(("acme", "globex", "initech")),
            (draw.choice(("1.0", "1.1")), number),
            draw.randrange(5),
            draw.randrange(-5, 10_000),
            draw.choice((0, draw.randrange(10_000))),
        )
        for number in range(draw.randrange(15))
    ]


@pytest.mark.parametrize("seed", range(60))
def test_the_lines_are_the_bill_to_the_nano_dollar(seed: int) -> None:
    draw = random.Random(seed)
    log, spans, works = drawn_log(draw), drawn_stays(draw), drawn_works(draw)
    jobs = [JobSpan(f"job-{n}", "acme", *window(draw)) for n in range(draw.randrange(3))]
    since_ms, until_ms = window(draw)
    bill = bill_of(log, spans, jobs, since_ms, until_ms)
    busy = {(day, engine): drawn_busy(draw) for day in range(3) for engine in ENGINES}
    before = [work._replace(day=-1) for work in drawn_works(draw)]
    weights = {(0, "a"): Weights(80_000_000, 900_000_000, assumed=False, name="a fit")}
    for idle in POLICIES:
        allocation = allocate(bill, busy, works, weights, idle, before)
        assert sum(line.loaded_nano for line in allocation.lines) == bill.nano
        assert all(line.busy_nano >= 0 and line.idle_nano >= 0 for line in allocation.lines)
        assert all(line.marginal_nano is None or 0 <= line.marginal_nano <= line.busy_nano for line in allocation.lines)
        assert allocate(bill, busy, reversed(works), weights, idle, before) == allocation, "in whatever order they come"
        coarse_before = [work._replace(key=()) for work in before]
        coarse = allocate(bill, busy, [work._replace(key=()) for work in works], weights, idle, coarse_before)
        assert by_tenant(coarse) == by_tenant(allocation), "whatever lines are kept apart by"
        for counted in (sum(line.attempts for line in allocation.lines), allocation.uncosted_attempts):
            assert counted <= sum(work.attempts for work in works)
    days = [bill_of(log, spans, jobs, day * DAY_MS, (day + 1) * DAY_MS).nano for day in range(3)]
    assert sum(days) == bill_of(log, spans, jobs, 0, 3 * DAY_MS).nano, "a month is the sum of its days"


@pytest.mark.parametrize("seed", range(20))
def test_what_is_remembered_is_what_would_come_anew(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows and policies of the same days, whose facts change in between."""
    draw, remembered = random.Random(seed), Remembered()
    monkeypatch.setattr(allocation_module, "MOST_REMEMBERED", draw.choice((1, 10, 1_000)))
    log, spans, works = drawn_log(draw), drawn_stays(draw), drawn_works(draw)
    busy = {(day, engine): drawn_busy(draw) for day in range(3) for engine in ENGINES}
    for _ in range(12):
        bill = bill_of(log, spans, [], *window(draw))
        before = [work._replace(day=-1) for work in works if draw.random() < 0.5]
        idle = draw.choice(POLICIES)
        anew = allocate(bill, busy, works, {}, idle, before)
        with remembering(remembered):
            assert allocate(bill, busy, works, {}, idle, before) == anew
        if draw.random() < 0.3 and works:
            works = [*works[1:], works[0]._replace(completion_tokens=draw.randrange(10_000))]


def test_the_same_days_are_worked_out_once() -> None:
    log = log_of(("engine:a", "on_demand", NANO, 0))
    works, busy = [work(completion_tokens=5), work(day=1, completion_tokens=5)], {(0, "a"): BusyTime(HOUR)}
    with remembering(Remembered()):
        once, again = (
            allocate(bill_of(log, [stay("a", 0, 2 * DAY_MS)], [], 0, days * DAY_MS), busy, works, {}, Idle())
            for days in (1, 2)
        )
    of_day = [line for line in again.lines if line.day == 0]
    assert [one is other for one, other in zip(once.lines, of_day, strict=True)] == [True] * len(of_day)


@contextmanager
def remembering(remembered: Remembered) -> Iterator[None]:
    token = REMEMBERED.set(remembered)
    try:
        yield
    finally:
        REMEMBERED.reset(token)


def billed(bill: EngineBill) -> dict[tuple[int, str], float]:
    return {(day.day, day.engine_id): day.nano / NANO for day in bill.days}


def test_each_kind_of_cost_is_paid_while_it_should_be() -> None:
    log = log_of(
        ("engine:a", "on_demand", 2 * NANO, 0), ("engine:b", "reserved", NANO, 0), ("engine:b", "ended", 0, DAY_MS)
    )
    bill = bill_of(log, [stay("a", 2 * HOUR, 5 * HOUR)], [], 0, 2 * DAY_MS)
    assert billed(bill) == {(0, "a"): 6, (0, "b"): 24}
    assert {day.engine_id: day.paid_ms for day in bill.days} == {"a": 3 * HOUR, "b": 24 * HOUR}


def test_the_most_particular_cost_counts_and_a_host_is_shared_by_those_without() -> None:
    log = log_of(("*", "spot", NANO, 0), ("host:h1", "reserved", 8 * NANO, 0), ("engine:c", "on_demand", 3 * NANO, 0))
    spans = [
        stay("a", 0, 10 * HOUR),
        stay("b", 5 * HOUR, 10 * HOUR),
        stay("c", 0, 10 * HOUR),
        stay("d", 0, HOUR, host="h2"),
    ]
    bill = bill_of(log, spans, [], 0, 12 * HOUR)
    assert billed(bill) == {(0, "a"): 60, (0, "b"): 20, (0, "c"): 30, (0, "d"): 1, (0, "host:h1"): 16}


def test_a_cost_that_changes_holds_from_its_date_and_none_is_uncosted() -> None:
    log = log_of(("engine:a", "on_demand", NANO, DAY_MS), ("engine:a", "on_demand", 3 * NANO, DAY_MS + 12 * HOUR))
    bill = bill_of(log, [stay("a", 0, 2 * DAY_MS)], [], 0, 2 * DAY_MS)
    assert billed(bill) == {(0, "a"): 0, (1, "a"): 48}
    assert bill.uncosted_ms == DAY_MS
    allocation = allocate(bill, {}, [work(), work(day=1)], {}, Idle())
    assert [(one.day, one.ms, one.attempts) for one in allocation.uncosted] == [(0, DAY_MS, 1)]
    assert allocation.uncosted_attempts == 1


def test_a_day_of_which_some_hours_have_no_cost_is_not_costed_whole() -> None:
    log = log_of(("engine:a", "on_demand", NANO, 6 * HOUR))
    bill = bill_of(log, [stay("a", 0, DAY_MS)], [], 0, DAY_MS)
    allocation = allocate(bill, {(0, "a"): BusyTime(HOUR)}, [work(completion_tokens=1)], {}, Idle())
    assert bill.nano == 18 * NANO
    assert [(one.ms, one.attempts) for one in allocation.uncosted] == [(6 * HOUR, 1)]


def test_jobs_pay_for_the_trainer_by_the_second_and_two_at_once_twice() -> None:
    jobs = [JobSpan("1", "acme", 0, 2 * HOUR), JobSpan("2", "globex", HOUR, 2 * HOUR)]
    on_demand = bill_of(log_of(("trainer", "on_demand", 4 * NANO, 0)), [], jobs, 0, DAY_MS)
    assert on_demand.nano == 12 * NANO
    works = [Work(0, "trainer", "training", job.tenant, (), engine_ms=job.until_ms - job.started_at_ms) for job in jobs]
    assert by_tenant(allocate(on_demand, {}, works, {}, Idle())) == {"acme": 8 * NANO, "globex": 4 * NANO, "idle": 0}
    owned = bill_of(log_of(("trainer", "owned", NANO, 0)), [], jobs, 0, DAY_MS)
    assert by_tenant(allocate(owned, {}, works, {}, Idle())) == {"acme": 2 * NANO, "globex": NANO, "idle": 21 * NANO}


def test_busy_time_is_divided_by_work_and_idle_time_by_the_policy() -> None:
    bill = bill_of(log_of(("*", "on_demand", NANO, 0)), [stay("a", 0, DAY_MS)], [], 0, DAY_MS)
    works = [
        work(tenant="acme", uncached_tokens=400, completion_tokens=0),
        work(tenant="globex", uncached_tokens=0, completion_tokens=50),
        Work(0, "a", "system", "_system", ("",), 1, 0, 50),
        Work(0, "a", "shadow", "acme", ("",), 1, 0, 100),
    ]
    busy = {(0, "a"): BusyTime(12 * HOUR)}

    def shares(idle: Idle) -> dict[tuple[str, str], int]:
        lines = allocate(bill, busy, works, {}, idle).lines
        return {(line.kind, line.tenant): line.loaded_nano // 10**6 for line in lines}

    fixed = {("system", "_system"): 2_000, ("shadow", "acme"): 4_000}
    assert shares(Idle()) == {("tenant", "acme"): 4_000, ("tenant", "globex"): 2_000, ("idle", ""): 12_000, **fixed}
    assert shares(Idle("by_share")) == {
        ("tenant", "acme"): 12_000,
        ("tenant", "globex"): 6_000,
        ("idle", ""): 0,
        **fixed,
    }
    assert shares(Idle("equal")) == {("tenant", "acme"): 10_000, ("tenant", "globex"): 8_000, ("idle", ""): 0, **fixed}
    assert shares(idle_of("reserved", {"initech": "0.25", "acme": "0.5"})) == {
        ("tenant", "acme"): 10_000,
        ("tenant", "globex"): 2_000,
        ("tenant", "initech"): 3_000,
        ("idle", ""): 3_000,
        **fixed,
    }


def test_the_marginal_cost_is_known_only_where_weights_were_measured() -> None:
    bill = bill_of(log_of(("*", "on_demand", 3_600 * NANO, 0)), [stay("a", 0, HOUR)], [], 0, DAY_MS)
    works = [work(uncached_tokens=1_000, completion_tokens=100)]
    busy = {(0, "a"): BusyTime(10_000)}
    (assumed, _) = sorted(allocate(bill, busy, works, {}, Idle()).lines, key=lambda line: line.kind == "idle")
    assert (assumed.marginal_nano, assumed.busy_nano) == (None, 10 * NANO)
    weights = {(0, "a"): Weights(1_000_000_000, 20_000_000_000, assumed=False, name="fit")}
    (measured, _) = sorted(allocate(bill, busy, works, weights, Idle()).lines, key=lambda line: line.kind == "idle")
    assert (measured.marginal_nano, measured.busy_nano) == (3 * NANO, 10 * NANO), "1 s of prompt, 2 s of completion"


def test_a_run_over_midnight_falls_to_those_of_the_day_on_which_it_began() -> None:
    bill = bill_of(log_of(("*", "on_demand", NANO, 0)), [stay("a", 0, 2 * DAY_MS)], [], 0, 2 * DAY_MS)
    busy = {(0, "a"): BusyTime(HOUR), (1, "a"): BusyTime(3 * HOUR, carried_ms=2 * HOUR)}
    works = [work(completion_tokens=5), work(tenant="globex", day=1, completion_tokens=1)]
    allocation = allocate(bill, busy, works, {}, Idle())
    assert by_tenant(allocation) == {"acme": 3 * NANO, "globex": NANO, "idle": 44 * NANO}
    assert sum(line.attempts for line in allocation.lines) == 2


def test_a_day_has_the_same_lines_in_whatever_window_it_is() -> None:
    log, stays = log_of(("*", "on_demand", NANO, 0)), [stay("a", 0, 2 * DAY_MS)]
    works = [work(completion_tokens=5), work(tenant="globex", day=1, completion_tokens=1)]
    busy = {(0, "a"): BusyTime(HOUR), (1, "a"): BusyTime(3 * HOUR, carried_ms=2 * HOUR)}
    both = allocate(bill_of(log, stays, [], 0, 2 * DAY_MS), busy, works, {}, Idle())
    second = bill_of(log, stays, [], DAY_MS, 2 * DAY_MS)
    alone = allocate(second, busy, works[1:], {}, Idle(), before=works[:1])
    assert alone.lines == tuple(line for line in both.lines if line.day == 1)


def test_a_load_pays_for_the_time_in_which_nothing_else_ran_and_takes_none_of_the_attempts_time() -> None:
    bill = bill_of(log_of(("*", "on_demand", NANO, 0)), [stay("a", 0, DAY_MS)], [], 0, DAY_MS)
    works = [
        work(tenant="globex", completion_tokens=5),
        *(Work(0, "a", "loads", tenant, ("",), engine_ms=ms) for tenant, ms in (("acme", HOUR), ("initech", 3 * HOUR))),
    ]
    preloaded = allocate(bill, {(0, "a"): BusyTime(5 * HOUR, load_ms=4 * HOUR)}, works, {}, Idle())
    assert by_tenant(preloaded) == {"acme": NANO, "initech": 3 * NANO, "globex": NANO, "idle": 19 * NANO}
    beside = allocate(bill, {(0, "a"): BusyTime(4 * HOUR, load_ms=0)}, works, {}, Idle())
    assert by_tenant(beside) == {"acme": 0, "initech": 0, "globex": 4 * NANO, "idle": 20 * NANO}


@pytest.mark.parametrize(
    ("policy", "shares", "said"),
    [
        ("everybody", {}, "idle is 'everybody'; choose one of unallocated"),
        ("reserved", {}, "needs shares of tenants"),
        ("equal", {"acme": "0.5"}, "has no shares"),
        ("reserved", {"acme": "0.7", "globex": "0.4"}, "more than 1"),
        ("reserved", {"acme": "half"}, "share of acme is 'half'"),
    ],
)
def test_an_idle_policy_that_makes_no_sense_is_refused(policy: str, shares: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        idle_of(policy, shares)
