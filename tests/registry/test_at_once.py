"""The same at once, by several connections: one wins, the others are told so, and what adds up loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from registry import backends
from registry.backends import is_contention
from registry.db import Database
from registry.errors import Conflict, InvalidInput, NotFound, RegistryError, Stale
from registry.etags import NOTHING
from registry.ledger.refusals import Refused
from registry.ledger.usage_report import report_usage
from registry.names import parse_ref
from registry.service import Registry
from registry.splits.skew import SplitSkew
from registry.tenants.rows import Tenant
from tests.registry.conftest import Shop
from tests.support.usage_rows import usage_row
from tests.support.waiting import DEADLINE_S

THREADS = 6


def at_once(act: Callable[[int], Any]) -> tuple[list[Any], list[RegistryError]]:
    """What came of it, by those who got something, and the errors of the others."""
    begin = threading.Barrier(THREADS)

    def one(number: int) -> Any:
        begin.wait(DEADLINE_S)
        try:
            return act(number)
        except RegistryError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(one, range(THREADS)))
    lost = [outcome for outcome in outcomes if isinstance(outcome, RegistryError)]
    return [outcome for outcome in outcomes if outcome not in lost], lost


def assert_one_won(outcomes: tuple[list[Any], list[RegistryError]], error: type[RegistryError], says: str) -> None:
    won, lost = outcomes
    assert len(won) == 1
    assert {type(one) for one in lost} == {error}
    assert all(says in one.message for one in lost), [one.message for one in lost]


def test_a_name_is_one_tenants(registry: Registry) -> None:
    outcomes = at_once(lambda _: registry.tenants.create("initech"))
    assert_one_won(outcomes, Conflict, "tenant 'initech' exists already")
    assert len(registry.actions.page(None, 10, "initech")) == 1


def test_a_base_is_registered_once_under_its_name(registry: Registry, stocked_state: Any) -> None:
    folder = stocked_state.parent / "tiny"
    won, lost = at_once(lambda _: registry.bases.register("tiny", folder))
    assert (len(won), lost) == (THREADS, [])
    won, lost = at_once(lambda number: registry.bases.register(f"name-{number}", folder))
    assert won == []
    assert {error.message for error in lost} == {"this model is registered already, as 'tiny'"}


def test_one_swap_of_an_alias_is_asked_for(shop: Shop) -> None:
    shop.versions(1)
    swaps = shop.registry.swaps
    outcomes = at_once(lambda number: swaps.request(parse_ref("acme/triage@1.0"), actor=f"person-{number}"))
    assert_one_won(outcomes, Conflict, "is still 'requested'; a running gateway finishes it")
    assert [swap.id for swap in swaps.pending()] == [outcomes[0][0].id]


def test_a_swap_moves_its_alias_once(shop: Shop) -> None:
    shop.versions(1)
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    outcomes = at_once(lambda _: shop.registry.swaps.flip(swap.id))
    assert_one_won(outcomes, Conflict, "was moved by somebody else meanwhile")
    assert len(shop.registry.adapters.history(parse_ref("acme/triage"))) == 1


def test_a_ramp_begins_one_split(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    swap = shop.registry.swaps.request_ramp(parse_ref("acme/triage"), {"1.0": 5_000, "1.1": 5_000}, actor="someone")
    revisions, lost = at_once(lambda _: shop.registry.swaps.flip(swap.id))
    splits = shop.registry.splits.history(parse_ref("acme/triage"))
    assert lost == []
    assert len(set(revisions)) == len(splits) == THREADS, "each takes the place of the one before it"
    assert sum(split.ended_at_ms is None for split in splits) == 1


def test_new_limits_of_a_scope_are_made_by_one_of_those_who_saw_none(registry: Registry) -> None:
    outcomes = at_once(
        lambda number: registry.limits.set("tenant:acme", {"concurrency": number + 1}, expected=[NOTHING])
    )
    assert_one_won(outcomes, Stale, "what tenant:acme is limited to")
    assert registry.limits.get("tenant:acme") == outcomes[0][0]


def test_limits_are_changed_by_one_of_those_who_saw_them_as_they_were(registry: Registry) -> None:
    seen = registry.limits.set("tenant:acme", {"concurrency": 99})
    outcomes = at_once(lambda number: registry.limits.set("tenant:acme", {"concurrency": number}, expected=[seen.etag]))
    assert_one_won(outcomes, Stale, "what tenant:acme is limited to")


def test_different_limits_of_a_scope_are_all_set(registry: Registry) -> None:
    fields = ("requests_per_minute", "tokens_per_minute", "concurrency", "daily_nano", "monthly_nano", "daily_tokens")
    _, lost = at_once(lambda number: registry.limits.set("tenant:acme", {fields[number]: 7}))
    assert lost == []
    info = registry.limits.get("tenant:acme")
    assert [getattr(info, field) for field in fields] == [7] * len(fields)


def test_one_price_is_dated_back(registry: Registry) -> None:
    outcomes = at_once(
        lambda number: registry.tariffs.add(
            "tenant:acme", input_dollars="1", output_dollars="2", effective_from_ms=number, source="test"
        )
    )
    assert_one_won(outcomes, Conflict, "the next one begins now or later")


def test_a_price_of_an_api_is_added_once(registry: Registry) -> None:
    added = at_once(lambda _: registry.baselines.add_prices("gpt", {"input": "1"}, source="test"))
    assert_one_won(added, Conflict, "input of gpt has a price from")


def test_corrections_never_take_more_than_there_is(registry: Registry) -> None:
    registry.ledger.record([usage_row("attempt-1", completion_tokens=10)])
    outcomes = at_once(lambda _: registry.ledger.correct("attempt-1", "wrong", "me", {"completion_tokens": -7}))
    assert_one_won(outcomes, InvalidInput, "3 are booked, and they cannot become negative")


def test_a_key_is_revoked_once_and_a_name_forgotten_once(registry: Registry) -> None:
    key = registry.tenants.create_key("acme")
    revoked, lost = at_once(lambda number: registry.tenants.revoke_key(key.id, actor=f"person-{number}"))
    assert lost == []
    assert len({one.revoked_at_ms for one in revoked}) == 1
    registry.model_names.map("acme", "gpt-4o", "tiny")
    outcomes = at_once(lambda _: registry.model_names.unmap("acme", "gpt-4o"))
    assert_one_won(outcomes, NotFound, "has no mapping for 'gpt-4o'")
    done = [action.action for action in registry.actions.page(None, 10, "acme")]
    assert (done.count("key.revoked"), done.count("model.unmapped")) == (1, 1)


def test_an_engine_is_drained_by_the_first_order_and_lifted_once(registry: Registry) -> None:
    orders, lost = at_once(lambda number: registry.drains.order("http://engine", actor=f"person-{number}"))
    assert (len(set(orders)), lost) == (1, [])
    lifted, _ = at_once(lambda _: registry.drains.lift("http://engine"))
    assert sorted(lifted) == [False] * (THREADS - 1) + [True]


def test_usage_is_booked_once_whoever_books_it(registry: Registry) -> None:
    rows = [usage_row(f"attempt-{number}", completion_tokens=1) for number in range(50)]
    new, lost = at_once(lambda _: registry.ledger.record(rows))
    assert (sum(new), lost) == (len(rows), [])
    lines = report_usage(registry.db, "version", until_ms=10**12).lines
    assert sum(line.completion_tokens for line in lines) == len(rows)
    assert [problem for problem in registry.ledger.audit([]) if "sum of its attempts" in problem] == []


def test_refusals_add_up_and_what_workers_say_takes_the_place_of_what_they_said(registry: Registry) -> None:
    reasons = [Refused(1, "acme", "k", "m", "tenant:acme", reason) for reason in ("a", "b", "c")]
    at_once(lambda number: registry.refusals.add(dict.fromkeys(reasons[:: (-1) ** number], 2)))
    assert sum(registry.refusals.by_limit(0, 2**50).values()) == 2 * THREADS * len(reasons)
    _, lost = at_once(lambda number: registry.skews.note("w", [SplitSkew(1, "prompt", 1_000, 100 + number)]))
    assert lost == []
    at_once(lambda number: registry.workers.report("w", "http://w", number))
    assert len(registry.workers.live()) == 1


def test_who_waits_too_long_for_another_change_is_told_to_try_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "LOCK_WAIT_S", 0.1)
    with registry.db.write() as session:
        session.get_one(Tenant, "acme", with_for_update=True)
        with (
            pytest.raises(RegistryError, match="busy with another change, and nothing was changed; try again"),
            Registry.open(registry.settings) as other,
        ):
            other.tenants.change("acme", {"allow_unknown_fields": True})


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_two_transactions_that_wait_for_each_other_one_goes_on(registry: Registry) -> None:
    both_hold_one = threading.Barrier(2)

    def lock(first: str, second: str) -> bool | None:
        with closing(Database(registry.db.url)) as db:
            try:
                with db.write() as session:
                    session.scalars(select(Tenant).where(Tenant.name == first).with_for_update()).one()
                    both_hold_one.wait(DEADLINE_S)
                    session.scalars(select(Tenant).where(Tenant.name == second).with_for_update()).one()
            except OperationalError as error:
                return is_contention(error)
        return None

    with ThreadPoolExecutor(2) as pool:
        stopped = pool.map(lock, ("acme", "globex"), ("globex", "acme"))
        assert set(stopped) == {None, True}
