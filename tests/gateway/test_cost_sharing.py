"""Break-even of engines that tenants share: alone, together, when one leaves, and fair shares."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from gateway.cost.sharing import NOBODY, IdleRule, TenantMonth, leave, loaded, orders_for, shapley, share
from registry.errors import NotFound
from registry.money import NANO

BILL = 2_000 * NANO
ACME = TenantMonth("acme", Fraction(800_000), Fraction(600 * NANO), 300 * NANO)
GLOBEX = TenantMonth("globex", Fraction(100_000), Fraction(140 * NANO), 100 * NANO)
BY_SHARE = IdleRule("by_share")


def test_a_tenant_alone_needs_the_whole_bill_and_together_only_what_the_others_leave() -> None:
    pool = share(BILL, [ACME, GLOBEX], BY_SHARE)
    acme = pool.tenants[0]
    assert acme.alone == 2_666_667  # $2,000 at $0.00075 a request
    assert acme.shared == 2_480_000  # globex would pay $140 of it
    assert acme.more_like_it == Fraction(1_260, 600)  # 2.1 more tenants like acme
    assert (pool.requests, pool.requests_needed) == (900_000, 2_432_433)
    assert pool.saved_nano == -1_260 * NANO


def test_engines_that_pay_already_need_nobody_and_some_could_leave() -> None:
    rich = TenantMonth("rich", Fraction(1_000), Fraction(5_000 * NANO), 10)
    found = {one.tenant: one for one in share(BILL, [ACME, rich], BY_SHARE).tenants}
    assert found["acme"].shared == 0
    assert found["acme"].more_like_it == Fraction(-3_600, 600)
    assert found["rich"].saved_nano > 0


def test_a_tenant_whose_requests_cost_nothing_there_never_breaks_even() -> None:
    free = TenantMonth("free", Fraction(1_000), Fraction(0), 10)
    (found,) = share(BILL, [free], IdleRule()).tenants
    assert (found.alone, found.shared, found.more_like_it, found.loaded_nano) == (None, None, None, 10)
    assert share(BILL, [], IdleRule()).requests_needed is None


@pytest.mark.parametrize(
    ("idle", "charged", "more"),
    [
        (IdleRule(), {"acme": 300, "globex": 100, NOBODY: 1_600}, {"globex": 0, NOBODY: 300}),
        (BY_SHARE, {"acme": 1_500, "globex": 500, NOBODY: 0}, {"globex": 1_500, NOBODY: 0}),
        (IdleRule("equal"), {"acme": 1_100, "globex": 900, NOBODY: 0}, {"globex": 1_100, NOBODY: 0}),
        (
            IdleRule("reserved", {"acme": 5 * 10**8, "globex": 10**8}),
            {"acme": 1_100, "globex": 260, NOBODY: 640},
            {"globex": 30, NOBODY: 1_070},
        ),
    ],
)
def test_who_pays_more_when_a_tenant_leaves_follows_the_idle_policy(
    idle: IdleRule, charged: dict[str, int], more: dict[str, int]
) -> None:
    assert loaded(BILL, [ACME, GLOBEX], idle) == {name: dollars * NANO for name, dollars in charged.items()}
    left = leave(BILL, [ACME, GLOBEX], idle, "acme")
    assert left.more == {name: dollars * NANO for name, dollars in more.items()}
    assert left.saved_nano == (140 - 2_000) * NANO
    with pytest.raises(NotFound, match="'initech' used nothing"):
        leave(BILL, [ACME], idle, "initech")


@pytest.mark.parametrize("seed", range(20))
def test_fair_shares_are_all_that_is_paid_and_nobody_pays_more_than_at_the_api(seed: int) -> None:
    chance = random.Random(seed)
    own = {name: Fraction(chance.choice([0, chance.randint(0, BILL)])) for name in "abcdef"[: 1 + seed % 6]}
    bill = chance.randint(0, 2 * BILL)
    fair = shapley(bill, own)
    assert sum(fair.values()) == min(bill, sum(own.values()))
    assert all(0 <= fair[name] <= own[name] for name in own)


def test_fair_shares_of_many_tenants_are_nearly_those_of_all_orders() -> None:
    ten = {f"t{number}": Fraction(100 * NANO * (number + 1)) for number in range(10)}
    drawn = shapley(BILL, {**ten, "t-none": Fraction(0)})
    exact = shapley(BILL, ten)
    assert drawn["t-none"] == 0
    assert all(drawn[name] == pytest.approx(exact[name], rel=0.1) for name in ten)
    assert sum(drawn.values()) == BILL


def test_fair_shares_of_ten_thousand_tenants_are_those_of_few_orders_and_alike_for_who_is_alike() -> None:
    own = {f"t{number}": Fraction(NANO * (1 + number % 2)) for number in range(10_000)}
    found = shapley(5_000 * NANO, own)
    assert orders_for(10_000) == 20
    assert sum(found.values()) == 5_000 * NANO
    small, large = {found["t0"], found["t2"]}, {found["t1"], found["t9999"]}
    assert (len(small), len(large)) == (1, 1)
    assert float(large.pop() / small.pop()) == pytest.approx(2, rel=0.05)


def test_tenants_that_are_all_alike_share_what_is_paid_exactly() -> None:
    found = shapley(BILL, {f"t{number}": Fraction(BILL) for number in range(16)})
    assert set(found.values()) == {Fraction(BILL, 16)}


def test_what_engines_do_for_no_tenant_is_neither_idle_time_nor_a_tenant_s() -> None:
    charged = loaded(BILL, [ACME, GLOBEX], BY_SHARE, 400 * NANO)
    assert charged == {"acme": 1_200 * NANO, "globex": 400 * NANO, NOBODY: 400 * NANO}
    left = leave(BILL, [ACME, GLOBEX], BY_SHARE, "acme", 400 * NANO)
    assert left.more == {"globex": 1_200 * NANO, NOBODY: 0}
    assert share(BILL, [ACME], BY_SHARE, 400 * NANO).platform_nano == 400 * NANO


def test_tenants_who_could_each_pay_the_bill_share_it_equally() -> None:
    assert shapley(BILL, {"a": Fraction(BILL), "b": Fraction(9 * BILL)}) == {"a": BILL // 2, "b": BILL // 2}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("policy", ["unallocated", "by_share", "equal", "reserved"])
def test_what_tenants_and_nobody_pay_is_the_bill_exactly(seed: int, policy: str) -> None:
    chance = random.Random(seed)
    busy = {name: chance.choice([0, chance.randint(0, 10**12)]) for name in "abcdef"[: 1 + seed % 6]}
    months = [TenantMonth(name, Fraction(1), Fraction(1), one) for name, one in busy.items()]
    bill = sum(busy.values()) + chance.randint(0, 10**13)
    rule = IdleRule(policy, dict.fromkeys(busy, 10**9 // 7))
    assert sum(loaded(bill, months, rule).values()) == bill
