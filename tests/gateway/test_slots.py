"""Who runs on an engine at a time, and who is next: rules alone, with a clock of the test's."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest

from gateway.fleet.slot_needs import KEPT_S, QUIET_S, Needs
from gateway.fleet.slots import HELD_S, NOBODY, Slots, Ticket

A, B, C = "acme", "bolt", "cord"


@dataclass
class Engine:
    """Slots, and who was let in, in order."""

    most: float = 4
    reserve: int = 1
    tenants: int = 3
    now: float = 0.0
    went: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = Slots(self.most, self.reserve, lambda: self.tenants)

    def ask(self, adapter: int, tenant: str) -> Ticket | None:
        """`None`: it runs."""
        if self.slots.join(adapter, tenant, self.now):
            return None
        ticket = Ticket(adapter, tenant, lambda: self.went.append(adapter))
        self.slots.wait(ticket, self.now)
        return ticket

    def run(self, tenant: str, *adapters: int) -> None:
        for adapter in adapters:
            assert self.ask(adapter, tenant) is None

    def leave(self, adapter: int) -> None:
        self.slots.leave(adapter, self.now)

    def pass_time(self, seconds: float) -> None:
        """In steps, at each of which it is reviewed."""
        until = self.now + seconds
        while (pause := self.slots.review(self.now)) is not None and self.now + pause <= until:
            self.now += pause
        self.now = until


def needs_of(engine: Engine) -> Needs:
    found = vars(engine.slots)["_needs"]
    assert isinstance(found, Needs)
    return found


def test_a_tenant_alone_has_all_slots() -> None:
    engine = Engine(tenants=1)
    engine.run(A, 1, 2, 3, 4)
    engine.ask(5, A)
    assert engine.went == []
    engine.leave(2)
    assert engine.went == [5]


def test_the_last_slot_is_kept_for_a_tenant_that_has_none() -> None:
    engine = Engine()
    engine.run(A, 1, 2, 3)
    engine.ask(4, A)
    assert engine.went == []
    engine.run(B, 10)
    engine.ask(20, C)
    engine.leave(10)
    assert engine.went == [20], "who has none comes before who has waited longer"


def test_the_last_slot_is_lent_to_short_answers_of_who_has_less() -> None:
    engine = Engine()
    engine.run(A, 1, 2)
    engine.run(B, 10)
    assert engine.ask(3, A) is not None, "who has most borrows nothing"
    assert not engine.slots.may_join(11, B, engine.now), "nobody knows yet how long its answers are"
    for _ in range(10):
        engine.now += 0.05
        engine.run(B, 10)
        engine.leave(10)
    engine.run(B, 11)
    engine.ask(20, C)
    engine.leave(11)
    assert engine.went == [20], "who has none has it next"


def test_nothing_is_lent_to_long_answers() -> None:
    engine = Engine()
    engine.run(A, 1, 2)
    engine.run(B, 10)
    engine.now += 60.0
    engine.run(B, 10)
    engine.leave(10)
    assert engine.ask(11, B) is not None


def test_no_slot_is_kept_when_every_tenant_has_one() -> None:
    engine = Engine(tenants=2)
    engine.run(A, 1)
    engine.run(NOBODY, 0)
    engine.run(B, 10, 11)
    assert engine.slots.held_by(B) == 2


def test_requests_on_an_adapter_that_runs_are_not_bounded() -> None:
    engine = Engine(most=1)
    engine.run(A, 1, 1, 1)
    engine.ask(10, B)
    engine.leave(1)
    engine.leave(1)
    assert engine.went == []
    engine.leave(1)
    assert engine.went == [10]


def test_constant_traffic_on_an_adapter_makes_room_for_who_waits() -> None:
    """vLLM alone would let every new request for what runs pass by those that wait."""
    engine = Engine(most=1)
    engine.run(A, 1)
    engine.pass_time(HELD_S)
    engine.ask(10, B)
    engine.pass_time(0)
    engine.ask(1, A)  # joins nothing: the slot is closed
    engine.leave(1)
    assert engine.went == [10]
    engine.pass_time(HELD_S)
    engine.leave(10)
    assert engine.went == [10, 1]


def test_a_slot_is_open_for_a_while_before_it_is_closed_for_others() -> None:
    engine = Engine(most=1)
    engine.run(A, 1)
    engine.ask(10, B)
    engine.pass_time(HELD_S / 2)
    engine.run(A, 1)
    engine.pass_time(HELD_S / 2)
    assert engine.ask(1, A) is not None


def test_who_has_most_makes_room_and_then_one_more_where_the_first_has_a_long_answer() -> None:
    engine = Engine(most=4, reserve=0)
    engine.run(A, 1, 2, 3)
    engine.run(B, 10)
    engine.pass_time(HELD_S)
    engine.ask(20, C)
    engine.pass_time(2 * HELD_S)  # 1 is closed at once, then 2 and 3
    assert engine.ask(10, B) is None, "the slot of a tenant with one is the last to be closed"
    assert all(engine.ask(adapter, A) is not None for adapter in (1, 2, 3))
    engine.leave(2)
    assert engine.went == [20, 1], "what was closed is open again as soon as nobody waits before it"


def beside_long_answers(*long: int) -> Engine:
    """Long answers of A, and B's short requests on adapter 10, one of which runs at any time."""
    engine = Engine(tenants=2)
    engine.run(A, *long)
    engine.run(B, 10)
    for _ in range(20):
        engine.pass_time(HELD_S / 10)
        engine.run(B, 10)
        engine.leave(10)
    return engine


def test_beside_long_answers_of_others_a_tenant_makes_room_for_itself_at_once_where_its_own_are_short() -> None:
    engine = beside_long_answers(1, 2, 3)
    engine.ask(11, B)
    engine.pass_time(0)
    assert engine.ask(10, B) is not None
    engine.leave(10)
    assert engine.went == [11]


def test_a_long_answer_of_ones_own_makes_no_room_for_oneself_while_others_have_more() -> None:
    engine = Engine(tenants=2)
    engine.run(A, 1, 2, 3)
    engine.run(B, 10)
    engine.pass_time(HELD_S)
    engine.ask(11, B)
    engine.pass_time(0)
    engine.run(B, 10)


def test_what_a_tenant_has_lacked_is_kept_for_it_from_who_has_more() -> None:
    engine = beside_long_answers(1, 2, 3)
    engine.ask(11, B)
    engine.leave(1)
    assert engine.went == [11]
    engine.leave(11)
    engine.ask(4, A)
    assert engine.went == [11], "A would have three again"
    engine.run(B, 11)
    engine.leave(11)
    engine.pass_time(KEPT_S - HELD_S)
    assert engine.went == [11]
    engine.pass_time(2 * HELD_S)
    assert engine.went == [11, 4], "B has not needed it for long"


def test_what_was_lacked_or_had_once_is_known_no_longer_than_it_counts() -> None:
    """Else every request for ever after would be held against it."""
    engine = beside_long_answers(1, 2, 3)
    engine.ask(11, B)
    for adapter in (1, 2, 11):
        engine.leave(adapter)
    assert needs_of(engine)
    engine.pass_time(KEPT_S + HELD_S)
    engine.run(C, 20)
    engine.leave(20)
    assert not needs_of(engine)


def test_what_a_tenant_has_had_at_once_is_kept_from_who_has_more() -> None:
    engine = Engine(tenants=2)
    engine.run(B, 10, 11)
    engine.leave(11)
    engine.run(A, 1, 2)
    engine.ask(3, A)
    assert engine.went == [], "A would have three"
    engine.run(B, 11)
    engine.leave(11)
    engine.pass_time(KEPT_S + HELD_S)
    assert engine.went == [3], "B has not needed it for long"


def test_what_who_runs_nothing_has_had_is_kept_for_a_moment() -> None:
    engine = Engine(tenants=2)
    engine.run(B, 10, 11)
    engine.leave(11)
    engine.run(A, 1, 2)
    engine.ask(3, A)
    engine.leave(10)
    assert engine.went == []
    engine.pass_time(QUIET_S + HELD_S)
    assert engine.went == [3]


def test_of_what_a_tenant_has_had_no_more_is_kept_than_the_other_has() -> None:
    engine = Engine(tenants=2)
    engine.run(B, 10, 11, 12)
    for adapter in (11, 12):
        engine.leave(adapter)
    engine.run(A, 1, 2)
    engine.ask(3, A)
    assert engine.went == []
    engine.run(B, 11)


def test_nothing_is_kept_from_who_would_have_no_more_than_the_one_that_lacks() -> None:
    engine = Engine(most=5, tenants=2, reserve=0)
    engine.run(A, 1, 2, 3, 4)
    engine.run(B, 10)
    engine.ask(11, B)
    for adapter in (1, 2, 3):
        engine.leave(adapter)
    engine.leave(11)
    engine.run(A, 5)
    assert engine.slots.held_by(A) == 2


def test_for_ones_own_sake_one_slot_is_closed_at_a_time() -> None:
    engine = Engine(most=3, tenants=1)
    engine.run(A, 1, 2, 3)
    engine.ask(4, A)
    engine.pass_time(10 * HELD_S)
    assert engine.ask(1, A) is not None
    engine.run(A, 2, 3)


def test_a_closed_slot_opens_again_when_who_waited_gives_up() -> None:
    engine = Engine(most=1)
    engine.run(A, 1)
    ticket = engine.ask(10, B)
    assert ticket is not None
    engine.pass_time(HELD_S)
    engine.ask(1, A)
    assert engine.went == []
    engine.slots.give_up(ticket, engine.now)
    assert engine.went == [1]


def test_tenants_without_a_slot_are_let_in_by_turns_and_not_by_how_much_they_ask_for() -> None:
    engine = Engine(most=1)
    engine.run(C, 20)
    for adapter in range(1, 9):
        engine.ask(adapter, A)
    engine.now += 1
    engine.ask(10, B)
    engine.leave(20)
    engine.leave(1)
    engine.leave(10)
    assert engine.went == [1, 10, 2]


def test_a_copy_takes_no_slot_that_is_kept_or_waited_for() -> None:
    engine = Engine(most=3)
    assert engine.slots.join_as_guest(1, A, 0.0)
    engine.run(A, 2)
    assert not engine.slots.join_as_guest(3, A, 0.0)
    assert engine.slots.join_as_guest(2, A, 0.0), "of a slot that is open it may be one more user"
    engine.ask(4, A)
    assert not engine.slots.join_as_guest(2, A, 0.0)


def test_an_engine_that_turns_out_to_run_more_lets_in_who_waits() -> None:
    engine = Engine(most=1)
    engine.run(A, 1)
    engine.ask(10, B)
    engine.slots.resize(math.inf, 0.0)
    assert engine.went == [10]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_no_more_run_than_may_and_everybody_comes_to_an_end(seed: int) -> None:
    draw = random.Random(seed)
    most = draw.randint(1, 5)
    engine = Engine(most=most)
    running: list[int] = []
    waiting: list[Ticket] = []
    asked = 0

    def take_in() -> None:
        running.extend(engine.went)
        for adapter in engine.went:
            waiting.remove(next(ticket for ticket in waiting if ticket.adapter == adapter))
        engine.went.clear()

    for _ in range(150):
        engine.pass_time(draw.randint(0, 3) * HELD_S)
        adapter = draw.randint(0, 8)
        turn = draw.random()
        if turn < 0.5:
            asked += 1
            ticket = engine.ask(adapter, f"t{adapter % 3}")
            running.append(adapter) if ticket is None else waiting.append(ticket)
        elif turn < 0.9 and running:
            engine.leave(running.pop(adapter % len(running)))
        elif waiting:
            engine.slots.give_up(waiting.pop(adapter % len(waiting)), engine.now)
        take_in()
        assert len(set(running)) <= most
        assert engine.slots.waiting == len(waiting)
    while running:
        engine.pass_time(HELD_S)
        engine.leave(running.pop(0))
        take_in()
    assert engine.slots.idle


@pytest.mark.parametrize("tenants", [2, 3, 5])
def test_of_tenants_that_ask_without_end_none_gets_less_than_half_of_another(tenants: int) -> None:
    """Every request takes a tenth of a second and is followed by the next; one tenant has ten adapters."""
    engine = Engine(most=2, tenants=tenants)
    adapters = [(number, A) for number in range(10)] + [(100 + other, f"t{other}") for other in range(tenants - 1)]
    running = [adapter for adapter, tenant in adapters if engine.ask(adapter, tenant) is None]
    served: dict[int, int] = dict.fromkeys((adapter for adapter, _ in adapters), 0)
    owner = dict(adapters)
    for _ in range(int(20 * tenants * HELD_S / 0.1)):
        engine.pass_time(0.1)
        for adapter in list(running):
            served[adapter] += 1
            running.remove(adapter)
            engine.leave(adapter)
            if engine.ask(adapter, owner[adapter]) is None:
                running.append(adapter)
        running += engine.went
        engine.went.clear()
    by_tenant = {tenant: sum(n for a, n in served.items() if owner[a] == tenant) for tenant in set(owner.values())}
    assert min(by_tenant.values()) >= max(by_tenant.values()) / 2 - 1, by_tenant
