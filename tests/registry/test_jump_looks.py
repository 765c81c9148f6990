"""The mark of a day that is looked at for jumps: whoever moves it tells. And the sums by day that are looked at."""

from __future__ import annotations

from sqlalchemy import func, select, update

from registry.days import DAY_MS
from registry.ledger.daily_usage import daily_sums, daily_usage, tenants_on
from registry.ledger.rows import JumpLook
from registry.service import Registry
from registry.webhooks.rows import WebhookDelivery
from tests.support.usage_rows import usage_row


def test_of_two_that_looked_at_the_same_tenants_one_tells(registry: Registry) -> None:
    looks = registry.jump_looks

    def moves() -> bool:
        return looks.move_on(9, "", "acme", {"acme": {"tenant": "acme"}})

    assert looks.begin(9) == looks.begin(9) == ""
    assert [moves(), moves()] == [True, False]
    assert looks.begin(9) == "acme"
    looks.end(9)
    assert looks.begin(9) is None
    assert not moves(), "it has ended"
    looks.begin(99)
    with registry.db.read() as session:
        assert session.scalars(select(JumpLook.day)).all() == [99], "days of long ago are forgotten"
        assert session.scalars(select(func.count()).select_from(WebhookDelivery)).one() == 1


def test_what_was_found_is_kept_of_days_that_were_looked_at_to_their_end(registry: Registry) -> None:
    looks = registry.jump_looks
    for day in (8, 9):
        looks.begin(day)
        looks.move_on(day, "", "acme", {"acme": {"tenant": "acme", "day": day}}, "nobody")
        looks.move_on(day, "acme", "gone", {"globex": {"tenant": "globex", "day": day}, "gone": {}}, "nobody")
    assert looks.kept(0, 99) == {}, "the look has not ended"
    looks.end(9)
    assert looks.kept(0, 99) == {9: [{"tenant": "acme", "day": 9}, {"tenant": "globex", "day": 9}]}
    assert looks.kept(0, 99, "globex") == {9: [{"tenant": "globex", "day": 9}]}
    assert looks.kept(0, 9) == {}
    with registry.db.read() as session:
        assert session.scalars(select(func.count()).select_from(WebhookDelivery)).one() == 0, "nobody was told"
    looks.begin(99)
    assert looks.kept(0, 99) == {}, "days of long ago are forgotten"


def test_a_look_of_an_older_release_has_kept_nothing(registry: Registry) -> None:
    registry.jump_looks.begin(9)
    with registry.db.write() as session:
        session.execute(update(JumpLook).values(keeps=False, ended_at_ms=1))
    assert registry.jump_looks.kept(0, 99) == {}


def test_sums_by_day_are_those_of_keys_and_models_together(registry: Registry) -> None:
    used = [("acme", "key-1", 3), ("acme", "key-2", 3), ("globex", "key-3", 3), ("globex", "key-3", 4)]
    registry.ledger.record(
        usage_row(f"{at}", tenant=tenant, key_id=key, started_at_ms=day * DAY_MS, finished_at_ms=day * DAY_MS + 1)
        for at, (tenant, key, day) in enumerate(used)
    )
    assert len(daily_usage(registry.db, 0, 9)) == 4
    sums = [
        (one.day, one.tenant, one.key_id, one.requests)
        for one in daily_sums(registry.db, 0, 9, between=("acme", "acme"))
    ]
    assert sums == [(3, "acme", "", 2)]
    assert tenants_on(registry.db, 3, "", 1) == ["acme"]
    assert tenants_on(registry.db, 3, "acme", 9) == tenants_on(registry.db, 4, "", 9) == ["globex"]
