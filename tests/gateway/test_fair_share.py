"""Whose turn it is, under random arrivals and ends: nobody starves, weights hold within one request, and so on."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gateway.fleet.fair_share import Asker, FairShare

SEEDS = range(12)
URL = "http://a:1"


@dataclass(frozen=True, eq=False)
class One:
    """A request that waits."""

    asker: Asker
    number: int
    where: str = "anywhere"


@dataclass
class Engine:
    """So many seats, and who has them, in the order in which they began."""

    seats: int
    share: FairShare[One] = field(default_factory=FairShare)
    runs: deque[One] = field(default_factory=deque)
    _number: int = 0

    def ask(self, asker: Asker, where: str = "anywhere") -> One:
        self._number += 1
        one = One(asker, self._number, where)
        self.share.join(one)
        return one

    def begin(self) -> Iterator[One]:
        """Whoever begins now, one after another."""
        while len(self.runs) < self.seats and (one := self.share.take(lambda _: True)) is not None:
            self.share.begin(one.asker, URL)
            self.runs.append(one)
            yield one

    def end(self, one: One) -> None:
        self.runs.remove(one)
        self.share.end(one.asker, URL)


def weights_of(draw: random.Random) -> dict[str, int]:
    return {f"t{number}": draw.choice((1, 1, 2, 5, 10)) for number in range(draw.randint(2, 6))}


@pytest.mark.parametrize("seed", SEEDS)
def test_while_a_tenant_waits_nobody_has_more_than_one_request_above_its_weight(seed: int) -> None:
    draw = random.Random(seed)
    weights, engine = weights_of(draw), Engine(draw.randint(1, 20))
    for _ in range(600):
        tenant = draw.choice(list(weights))
        for _ in range(draw.choice((0, 1, 1, 9))):
            engine.ask(Asker(tenant, weights[tenant]))
        if engine.runs and draw.random() < 0.8:
            engine.end(draw.choice(engine.runs))
        for one in engine.begin():
            running = engine.share.running
            mine = (running[one.asker.tenant] - 1) / one.asker.weight
            for other in engine.share.standings():
                assert mine <= running.get(other.tenant, 0) / other.weight + 1e-9
        assert len(engine.runs) == engine.seats or not engine.share.waiting, "something is free and somebody waits"


@pytest.mark.parametrize("seed", SEEDS)
def test_tenants_that_always_want_more_get_by_weight_also_where_one_runs_at_a_time(seed: int) -> None:
    draw = random.Random(seed)
    weights, engine, got = weights_of(draw), Engine(1), Counter[str]()
    for tenant, weight in weights.items():
        for _ in range(200):
            engine.ask(Asker(tenant, weight))
    for _ in range(150):
        (one,) = engine.begin()
        got[one.asker.tenant] += 1
        engine.end(one)
    for tenant, weight in weights.items():
        due = 150 * weight / sum(weights.values())
        assert abs(got[tenant] - due) <= len(weights), (weights, got)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tenants_requests_begin_in_the_order_in_which_they_came(seed: int) -> None:
    draw = random.Random(seed)
    weights, engine, last = weights_of(draw), Engine(3), Counter[str]()
    for _ in range(400):
        tenant = draw.choice(list(weights))
        engine.ask(Asker(tenant, weights[tenant]), draw.choice("xyz"))
        if engine.runs and draw.random() < 0.7:
            engine.end(draw.choice(engine.runs))
        for one in engine.begin():
            assert one.number > last[one.asker.tenant]
            last[one.asker.tenant] = one.number


def test_nobody_starves_however_many_requests_another_sends() -> None:
    engine = Engine(1)
    for _ in range(100):
        engine.ask(Asker("noisy"))
    (first,) = engine.begin()
    quiet = engine.ask(Asker("quiet"))
    for _ in range(100):
        engine.ask(Asker("noisy"))
    begun = list[One]()
    while quiet not in engine.runs:
        engine.end(engine.runs[0])
        begun.extend(engine.begin())
    assert len(begun) <= 2, "it waits for one request of the other at most"
    assert first not in begun


def test_who_asks_again_at_once_does_not_pass_who_waits() -> None:
    engine, begun = Engine(1), list[str]()
    for _ in range(20):
        engine.ask(Asker("waits"))
    engine.ask(Asker("again"))
    for _ in range(20):
        (one,) = engine.begin()
        begun.append(one.asker.tenant)
        engine.end(one)
        if one.asker.tenant == "again":
            engine.ask(Asker("again"))
    assert 9 <= begun.count("again") <= 11


def test_silence_earns_nothing() -> None:
    engine = Engine(1)
    for _ in range(50):
        engine.ask(Asker("busy"))
    for _ in range(30):
        (one,) = engine.begin()
        engine.end(one)
    for _ in range(20):
        engine.ask(Asker("late"))
    begun = list[str]()
    for _ in range(10):
        (one,) = engine.begin()
        begun.append(one.asker.tenant)
        engine.end(one)
    assert begun.count("late") in (5, 6)


def test_what_nobody_waits_for_lets_others_go_first_and_yet_gets_on() -> None:
    engine, begun = Engine(1), list[bool]()
    for _ in range(60):
        engine.ask(Asker("night", batch=True))
        engine.ask(Asker("day"))
        engine.ask(Asker("night"))
    for _ in range(63):
        (one,) = engine.begin()
        begun.append(one.asker.batch)
        engine.end(one)
    assert 2 <= begun.count(True) <= 4


def test_a_request_of_many_answers_counts_as_many() -> None:
    engine = Engine(4)
    for _ in range(4):
        engine.ask(Asker("wide", size=8))
        engine.ask(Asker("narrow"))
    assert [one.asker.tenant for one in engine.begin()] == ["wide", "narrow", "narrow", "narrow"]


def test_what_cannot_begin_holds_up_nothing_that_can() -> None:
    share = FairShare[One]()
    blocked, free = One(Asker("acme"), 1, "full"), One(Asker("acme"), 2, "free")
    share.join(blocked)
    share.join(free)
    assert share.take(lambda one: one.where == "free") is free
    assert share.take(lambda one: one.where == "free") is None
    assert list(share.all()) == [blocked]


def test_a_tenant_that_is_quiet_leaves_nothing_behind() -> None:
    engine = Engine(1)
    for number in range(50):
        engine.ask(Asker(f"t{number}", batch=number % 2 == 0))
    left = engine.ask(Asker("left"))
    engine.share.leave(left)
    for _ in range(50):
        (one,) = engine.begin()
        engine.end(one)
    assert engine.share.running == {}
    assert engine.share.waiting == 0
    assert vars(engine.share)["_flows"] == {}


def test_a_tenant_that_is_quiet_is_forgotten_though_others_never_cease_to_wait() -> None:
    engine = Engine(1)
    for _ in range(9):
        engine.ask(Asker("flood"))
    engine.ask(Asker("quiet"))
    for _ in range(4):
        (one,) = engine.begin()
        engine.end(one)
    engine.share.turn()
    assert {tenant for tenant, _ in engine.share._flows} == {"flood"}
    assert engine.share.waiting == 6


def test_of_one_kind_and_place_one_is_asked_for_all() -> None:
    share, asked = FairShare[One](), list[One]()
    waiting = [One(Asker(tenant), number) for number, tenant in enumerate(("a", "b", "c"), 1)]
    for one in waiting:
        share.join(one)

    def can_begin(one: One) -> bool:
        asked.append(one)
        return one.asker.tenant == "c"

    assert share.take(can_begin) is None
    assert asked == waiting[:1]
    assert share.take(can_begin, lambda asker: asker.tenant == "c") is waiting[2]


def test_a_tenants_standing_has_all_that_waits_of_it() -> None:
    engine = Engine(1)
    engine.ask(Asker("acme", 3))
    list(engine.begin())
    engine.ask(Asker("acme", 3))
    second = engine.ask(Asker("acme", 3, batch=True))
    third = engine.ask(Asker("acme", 3, batch=True))
    assert engine.share.standings() == [("acme", 3, 1, 3)]
    assert [engine.share.ahead_of(one) for one in (second, third)] == [0, 1]
