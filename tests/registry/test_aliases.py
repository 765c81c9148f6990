"""Aliases move by compare-and-swap, one swap at a time, and the database itself keeps their history."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from registry.adapters.aliases import move_alias
from registry.db import Database
from registry.errors import Conflict, InvalidInput, NotFound
from registry.names import AdapterRef, parse_ref
from registry.swaps.infos import DONE, DRAINING, FAILED, FLIPPED, PRELOADING, REQUESTED, VERIFIED
from tests.registry.conftest import TRIAGE, Shop
from tests.support.usage_rows import usage_row

PRODUCTION = parse_ref("acme/triage")


def current(shop: Shop, alias: str = "production") -> str:
    return shop.registry.adapters.get(AdapterRef("acme", "triage", None, alias)).name


def test_a_promoted_version_is_what_the_alias_names(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1", alias="canary")
    assert current(shop) == "acme/triage@1.0"
    assert current(shop, "canary") == "acme/triage@1.1"
    assert [version.aliases for version in shop.registry.adapters.all()] == [("production",), ("canary",)]


def test_an_alias_may_be_promoted_to_what_another_alias_names(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.1", alias="canary")
    shop.promote("acme/triage@canary")
    assert current(shop) == "acme/triage@1.1"


def test_every_move_is_in_the_history(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1")
    first, second = shop.registry.adapters.history(TRIAGE)
    assert (first.from_version, first.to_version) == (None, "acme/triage@1.0")
    assert (second.from_version, second.to_version) == ("acme/triage@1.0", "acme/triage@1.1")
    assert (second.alias, second.actor, second.reason) == ("production", "someone", "because")
    assert first.at_ms <= second.at_ms


def test_a_rollback_goes_back_to_where_the_alias_was(shop: Shop) -> None:
    shop.versions(3)
    for number in ("1.0", "1.1", "1.2"):
        shop.promote(f"acme/triage@{number}")
    swap = shop.registry.swaps.request_rollback(PRODUCTION, actor="someone")
    assert swap.to_version == "acme/triage@1.1"
    assert swap.detail["from"] == "acme/triage@1.2"


def test_a_second_rollback_goes_further_back_and_never_forward(shop: Shop) -> None:
    shop.versions(3)
    for version in ("1.0", "1.1", "1.2"):
        shop.promote(f"acme/triage@{version}")
    for expected in ("acme/triage@1.1", "acme/triage@1.0"):
        back = shop.registry.swaps.request_rollback(PRODUCTION, actor="someone")
        assert back.to_version == expected
        shop.registry.swaps.flip(back.id)
        shop.registry.swaps.advance(back.id, DONE)
    with pytest.raises(NotFound, match="no earlier version"):
        shop.registry.swaps.request_rollback(PRODUCTION, actor="someone")


def test_a_promote_ends_the_split_of_its_alias(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.split({"1.0": 5_000, "1.1": 5_000})
    shop.promote("acme/triage@1.1")
    (split,) = shop.registry.splits.history(PRODUCTION)
    assert split.ended_at_ms is not None
    assert not shop.registry.catalog().adapters["acme", "triage"].splits


def test_promoting_the_current_version_again_does_not_change_where_a_rollback_goes(shop: Shop) -> None:
    shop.versions(2)
    for number in ("1.0", "1.1", "1.1"):
        shop.promote(f"acme/triage@{number}")
    assert shop.registry.swaps.request_rollback(PRODUCTION, actor="someone").to_version == "acme/triage@1.0"


def test_a_first_promote_cannot_be_rolled_back(shop: Shop) -> None:
    shop.versions(1)
    with pytest.raises(NotFound, match="no earlier version"):
        shop.registry.swaps.request_rollback(PRODUCTION, actor="someone")
    shop.promote("acme/triage@1.0")
    with pytest.raises(NotFound, match="no earlier version"):
        shop.registry.swaps.request_rollback(PRODUCTION, actor="someone")


def test_a_swap_records_each_step_and_when_it_ended(shop: Shop) -> None:
    shop.versions(1)
    swaps = shop.registry.swaps
    swap = swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    assert (swap.state, swap.finished_at_ms, swap.detail) == (REQUESTED, None, {"from": None, "from_version_id": None})
    swaps.advance(swap.id, PRELOADING, preloading_s=1.5)
    swaps.advance(swap.id, VERIFIED, verified_s=1.5)
    revision = swaps.flip(swap.id)
    assert swaps.get(swap.id).state == FLIPPED
    swaps.advance(swap.id, DRAINING)
    assert [pending.id for pending in swaps.pending()] == [swap.id]
    swaps.advance(swap.id, DONE)
    done = swaps.get(swap.id)
    assert swaps.pending() == []
    assert done.finished_at_ms is not None
    assert done.detail["preloading_s"] == done.detail["verified_s"] == 1.5
    assert done.detail["revision"] == revision == shop.registry.db.catalog_revision()
    assert done.to_version == "acme/triage@1.0"


@pytest.mark.parametrize("final", [DONE, FAILED])
def test_a_finished_swap_stays_as_it_is(shop: Shop, final: str) -> None:
    shop.versions(1)
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    shop.registry.swaps.advance(swap.id, final)
    before = shop.registry.swaps.get(swap.id)
    with pytest.raises(Conflict, match=f"is {final} already"):
        shop.registry.swaps.flip(swap.id)
    with pytest.raises(Conflict, match=f"is {final} already"):
        shop.registry.swaps.advance(swap.id, FAILED, error="too late")
    assert shop.registry.swaps.get(swap.id) == before
    assert shop.registry.adapters.history(TRIAGE) == []


def test_one_swap_runs_for_an_alias_at_a_time(shop: Shop) -> None:
    shop.versions(2)
    swaps = shop.registry.swaps
    running = swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    with pytest.raises(Conflict, match=f"swap {running.id} of acme/triage@production is still 'requested'"):
        swaps.request(parse_ref("acme/triage@1.1"), actor="someone")
    swaps.request(parse_ref("acme/triage@1.1"), alias="canary", actor="someone")
    swaps.advance(running.id, FAILED, error="no engine")
    assert swaps.request(parse_ref("acme/triage@1.1"), actor="someone").id > running.id


def test_a_flip_loses_when_the_alias_has_moved_meanwhile(shop: Shop) -> None:
    first, second = shop.versions(2)
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    with shop.registry.db.write() as session:
        adapter_id = session.execute(text("SELECT id FROM adapters")).scalar_one()
        move_alias(
            session,
            adapter_id=adapter_id,
            alias="production",
            to_version_id=second.id,
            expected_etag=0,
            actor="else",
            reason="",
        )
    revision = shop.registry.db.catalog_revision()
    with pytest.raises(Conflict, match="moved by somebody else"):
        shop.registry.swaps.flip(swap.id)
    assert current(shop) == second.name != first.name
    assert len(shop.registry.adapters.history(TRIAGE)) == 1
    assert shop.registry.db.catalog_revision() == revision
    assert shop.registry.swaps.get(swap.id).state == REQUESTED


def test_a_quarantined_version_is_not_promoted_and_not_rolled_back_to(shop: Shop) -> None:
    first, _second = shop.versions(2)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1")
    shop.registry.adapters.quarantine(first.id, "answers do not match its proof")
    with pytest.raises(InvalidInput, match="quarantined: answers do not match"):
        shop.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="someone")
    with pytest.raises(InvalidInput, match="quarantined"):
        shop.registry.swaps.request_rollback(PRODUCTION, actor="someone")
    assert shop.registry.swaps.pending() == []


@pytest.mark.parametrize("alias", ["1.0", "", "Production", "a b"])
def test_an_alias_cannot_look_like_a_version_or_be_no_name(shop: Shop, alias: str) -> None:
    shop.versions(1)
    with pytest.raises(InvalidInput, match="alias is"):
        shop.registry.swaps.request(parse_ref("acme/triage@1.0"), alias=alias, actor="someone")


@pytest.mark.parametrize("name", ["acme/nothing@1.0", "globex/triage@1.0", "acme/triage@7.0", "acme/triage@canary"])
def test_what_does_not_exist_is_not_promoted(shop: Shop, name: str) -> None:
    shop.versions(1)
    with pytest.raises(NotFound, match="switchyard adapters list"):
        shop.registry.swaps.request(parse_ref(name), actor="someone")
    with pytest.raises(NotFound, match="no swap 99"):
        shop.registry.swaps.get(99)


@pytest.mark.parametrize("table", ["alias_events", "usage", "engine_cost_log", "idle_policies"])
@pytest.mark.parametrize("statement", ["DELETE FROM {table}", "UPDATE {table} SET {column} = {column}"])
def test_the_database_refuses_to_rewrite_history_and_money(shop: Shop, table: str, statement: str) -> None:
    shop.versions(1)
    shop.promote("acme/triage@1.0")
    shop.registry.ledger.record([usage_row("attempt-1")])
    shop.registry.engine_costs.add("*", "spot", {"hourly": "2"}, source="list", actor="me")
    shop.registry.idle_policies.put("equal", {}, actor="me")
    column = {"usage": "attempt_id", "engine_cost_log": "seq"}.get(table, "id")
    with (
        pytest.raises(DBAPIError, match=f"{table} is append-only"),
        shop.registry.db.write() as session,
    ):
        session.execute(text(statement.format(table=table, column=column)))
    assert count(shop.registry.db, table) == 1


def count(db: Database, table: str) -> int:
    with db.read() as session:
        return int(session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
