"""Usage by day is the sum of its attempts and corrections, whatever was booked, in whatever order and how often."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from alembic import command
from sqlalchemy import func, insert, inspect, select, text, update

from registry.days import DAY_MS
from registry.db import Database
from registry.ledger import usage_days
from registry.ledger.rows import USAGE, USAGE_DAYS, UsageCorrection
from registry.ledger.store import Ledger
from registry.ledger.usage_days import CORRECTIONS, usage_between, wrong_days
from registry.ledger.usage_record import CORRECTABLE
from registry.names import SYSTEM
from registry.service import Registry
from tests.support.migrations import configured
from tests.support.usage_rows import usage_row

DAYS = 4
OUTCOMES = ("ok", "ok", "client_aborted", "engine_failed", "load_failed", "rejected", "lost")


def drawn(seed: int, count: int = 300) -> list[dict[str, Any]]:
    """Attempts of every sort, over four days."""
    draw = random.Random(seed)

    def one(number: int) -> dict[str, Any]:
        began_ms = draw.choice((draw.randrange(DAYS * DAY_MS), draw.randrange(DAYS) * DAY_MS))
        segment = draw.choice((None, "usage-w-1-000001", "usage-w-1-000002", "usage-other-2-000001"))
        row = usage_row(
            f"attempt-{number}",
            tenant=draw.choice(("acme", "globex", SYSTEM)),
            key_id=draw.choice(("key-1", "key-2")),
            served_model=draw.choice(("acme/triage@1.0", "acme/triage@1.1", "tiny")),
            adapter_id=draw.choice((None, 1)),
            split_id=draw.choice((None, 3, 4)),
            arm=draw.choice((None, "1.0", "1.1")),
            shadow=draw.choice((None, False, True)),
            outcome=draw.choice(OUTCOMES),
            started_at_ms=began_ms,
            finished_at_ms=draw.choice((None, began_ms + draw.randrange(10_000))),
            usage_source=draw.choice((None, "engine", "partial", "estimated")),
            ttft_ms=draw.choice((None, draw.randrange(10_000) / 10)),
            segment=segment,
            **{name: draw.choice((None, draw.randrange(1_000))) for name in CORRECTABLE},
        )
        return row | {"cached_tokens": (row["prompt_tokens"] or 0) // 2}

    return [one(number) for number in range(count)]


def figures(registry: Registry, since_ms: int, until_ms: int) -> dict[str, int]:
    names = ("attempts", *CORRECTABLE, "busy_ms", "ttft_us", "with_ttft", "partial", "estimated")
    with registry.db.read() as session:
        used = usage_between(session, since_ms, until_ms).c
        found = session.execute(select(*(func.coalesce(func.sum(used[name]), 0) for name in names))).one()
    return dict(zip(names, found, strict=True))


def test_any_window_comes_to_what_its_attempts_and_their_corrections_come_to(registry: Registry) -> None:
    rows, draw = drawn(seed=5), random.Random(6)
    assert registry.ledger.record(rows) == len(rows)
    corrected = [row for row in rows if row["prompt_tokens"]][:40]
    for row in corrected:
        registry.ledger.correct(row["attempt_id"], "a test", "me", {"prompt_tokens": 1, "cost_nano": 3})
    edges = [0, DAY_MS, 2 * DAY_MS, DAYS * DAY_MS, *(draw.randrange(DAYS * DAY_MS) for _ in range(20))]
    for _ in range(60):
        since_ms, until_ms = sorted(draw.choices(edges, k=2))
        inside = [row for row in rows if since_ms <= row["started_at_ms"] < until_ms]
        mended = sum(row in inside for row in corrected)
        expected = {name: sum(row[name] or 0 for row in inside) for name in CORRECTABLE}
        assert figures(registry, since_ms, until_ms) == {
            "attempts": len(inside),
            **expected,
            "prompt_tokens": expected["prompt_tokens"] + mended,
            "cost_nano": expected["cost_nano"] + 3 * mended,
            "busy_ms": sum(row["finished_at_ms"] - row["started_at_ms"] for row in inside if row["finished_at_ms"]),
            "ttft_us": sum(round(row["ttft_ms"] * 1000) for row in inside if row["ttft_ms"] is not None),
            "with_ttft": sum(row["ttft_ms"] is not None for row in inside),
            "partial": sum(row["usage_source"] == "partial" for row in inside),
            "estimated": sum(row["usage_source"] == "estimated" for row in inside),
        }, (since_ms, until_ms)


def test_what_is_booked_in_parts_and_again_is_summed_once(registry: Registry) -> None:
    rows = drawn(seed=7)
    assert registry.ledger.record(rows[:100]) == 100
    assert registry.ledger.record(rows[:100]) == 0
    assert registry.ledger.record([*rows[50:200], rows[199]]) == 100, "also one that comes twice at once"
    assert registry.ledger.record(rows) == 100
    registry.ledger.correct("attempt-250", "a test", "me", {"completion_tokens": 2})
    with registry.db.read() as session:
        assert wrong_days(session) == []
        writers = set(session.scalars(text("SELECT DISTINCT writer FROM usage_days")))
    assert writers == {"", "w-1", "other-2", CORRECTIONS}


def test_a_sum_that_is_not_that_of_its_attempts_is_named_and_can_be_made_anew(registry: Registry) -> None:
    ledger = registry.ledger
    ledger.record([usage_row("a", tenant=SYSTEM), usage_row("b", tenant=SYSTEM, started_at_ms=3 * DAY_MS)])
    ledger.correct("b", "a test", "me", {"completion_tokens": 2})
    assert ledger.audit([]) == []
    with registry.db.write() as session:
        session.execute(text("UPDATE usage_days SET prompt_tokens = prompt_tokens + 1 WHERE day = 3"))
    assert ledger.audit([]) == [
        "1970-01-04: usage by day is not the sum of its attempts; `switchyard ledger resum` makes it so"
    ]
    with registry.db.write() as session:
        session.execute(text("DELETE FROM usage_days WHERE day = 0"))
    assert [problem[:10] for problem in ledger.audit([])] == ["1970-01-01", "1970-01-04"]
    ledger.sum_again()
    assert ledger.audit([]) == []


SUMS = "SELECT sum(attempts), sum(prompt_tokens), min(first_ms), max(last_ms) FROM usage_days"


def at_revision(db: Database, revision: str, rows: Sequence[dict[str, Any]], corrected: Sequence[str]) -> None:
    """Bring an empty database to an old schema and book these rows, and a correction of each attempt named."""
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.upgrade(configured(connection), revision)
        for row in rows:
            there = {column["name"] for column in inspect(connection).get_columns("usage")}
            connection.execute(insert(USAGE).values({name: row[name] for name in row.keys() & there}))
        for attempt_id in corrected:
            values = {"attempt_id": attempt_id, "reason": "a test", "actor": "me", "created_at_ms": 1}
            sums = dict.fromkeys(CORRECTABLE, 2)
            connection.execute(insert(UsageCorrection).values(values | sums))


@pytest.mark.parametrize("revision", ["0012", "0020"])
def test_a_database_of_an_older_version_gets_its_sums_also_where_many_rows_come_to_one(
    empty_url: str, revision: str
) -> None:
    alike = [usage_row(name, prompt_tokens=5, started_at_ms=at) for name, at in (("a", 1_000), ("b", 3_000))]
    with closing(Database(empty_url)) as db:
        at_revision(db, revision, [*alike, *drawn(seed=8)], ["a", "b", "b", "attempt-1"])
        db.migrate()
        with db.read() as session:
            assert wrong_days(session) == []
            assert session.execute(text("SELECT sum(attempts) FROM usage_days")).scalar() == 302
        Ledger(db).record([usage_row("c", started_at_ms=2_000)])
        Ledger(db).correct("a", "a test", "me", {"completion_tokens": 2, "cost_nano": 1})
        with db.read() as session:
            assert wrong_days(session) == [], "the triggers go on from there"


@pytest.mark.parametrize("revision", ["0013", "0020"])
def test_the_way_down_to_an_older_version_keeps_what_sums_come_to(empty_url: str, revision: str) -> None:
    with closing(Database(empty_url)) as db:
        at_revision(db, "head", drawn(seed=9), ["attempt-1", "attempt-1", "attempt-2"])
        with db.engine.execution_options(switchyard_write=True).begin() as connection:
            before = connection.execute(text(SUMS)).one()
            command.downgrade(configured(connection), revision)
            assert connection.execute(text(SUMS)).one() == before
        db.migrate()
        with db.read() as session:
            assert wrong_days(session) == []
            assert session.execute(text(SUMS)).one() == before


def test_the_running_day_is_read_as_sums_while_nothing_began_after_the_window(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = 3 * DAY_MS + 7_200_000
    monkeypatch.setattr(usage_days, "now_ms", lambda: now_ms)

    def began(name: str, at_ms: int) -> None:
        registry.ledger.record([usage_row(name, started_at_ms=at_ms, finished_at_ms=at_ms + 1)])

    began("first", 3 * DAY_MS + 1)
    with registry.db.write() as session:  # so that it shows what is read
        session.connection().execute(update(USAGE_DAYS).values(attempts=100))
    assert figures(registry, 0, now_ms - 5_000)["attempts"] == 100
    began("later", now_ms - 1_000)
    assert figures(registry, 0, now_ms - 5_000)["attempts"] == 1, "row by row"
    assert figures(registry, 0, now_ms)["attempts"] == 101
    monkeypatch.setattr(usage_days, "now_ms", lambda: now_ms + DAY_MS)
    assert figures(registry, 0, 3 * DAY_MS + 2)["attempts"] == 1, "rows of a day that is over may be in archives"
