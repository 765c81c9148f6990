"""The usage record: what its columns are, and that rows from before a column say what they said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import insert, select, text

from registry.days import DAY_MS
from registry.db import Database
from registry.ledger.rows import USAGE
from registry.ledger.store import Ledger
from registry.ledger.usage_days import wrong_days
from registry.ledger.usage_record import COLUMNS, UsageEnd, UsageKind, UsageRow
from registry.ledger.usage_report import report_usage
from registry.limits.spending import Spent
from registry.names import parse_ref
from registry.service import Registry
from registry.swaps.report import report_swap
from tests.registry.conftest import TRIAGE, Shop
from tests.support.migrations import configured
from tests.support.usage_rows import usage_row


def with_ids(shop: Shop, attempt_id: str, number: str, **changes: Any) -> dict[str, Any]:
    """An attempt on a version as it is booked now."""
    version = shop.registry.catalog().adapters["acme", "triage"].versions[number]
    with shop.registry.db.read() as session:
        adapter_id = session.execute(text("SELECT id FROM adapters WHERE name = 'triage'")).scalar_one()
    ids = {"served_model": version.name, "adapter_id": adapter_id, "version_id": version.id}
    return usage_row(attempt_id, **{**ids, **changes})


def lines(registry: Registry, by: str) -> dict[str, int]:
    """Attempts by the name of their line."""
    return {line.name: line.attempts for line in report_usage(registry.db, by, until_ms=DAY_MS).lines}


def test_every_column_is_of_the_attempt_its_kind_its_end_or_its_segment() -> None:
    names = [column.name for column in COLUMNS]
    assert names == ["attempt_id", "request_id", *UsageKind._fields, *UsageEnd._fields, "segment"]
    assert names == [column.name for column in USAGE.columns]


def test_a_row_that_is_read_is_the_row_that_was_booked(registry: Registry) -> None:
    booked = usage_row(
        "a", adapter_id=3, version_id=7, split_id=2, arm="1.1", propensity=0.1, shadow=False, engine_id="gpu-1",
        unit_hash="0f" * 16, unit_source="header",
    )  # fmt: skip
    registry.ledger.record([booked])
    with registry.db.read() as session:
        row = UsageRow.of(session.execute(select(USAGE)).mappings().one())
    found = {"attempt_id": row.attempt_id, **row.kind._asdict(), **row.end._asdict()}
    assert {name: found[name] for name in booked.keys() - {"request_id"}} == {
        name: value for name, value in booked.items() if name != "request_id"
    }
    assert registry.ledger.recent(1)[0]["propensity"] == 0.1


def test_attempts_of_an_adapter_are_one_line_and_one_sum_whether_or_not_their_rows_have_its_id(shop: Shop) -> None:
    shop.versions(2)
    registry = shop.registry
    registry.ledger.record(
        [
            with_ids(shop, "a", "1.0", cost_nano=3),
            with_ids(shop, "b", "1.1", cost_nano=4),
            usage_row("before", served_model="acme/triage@1.0", cost_nano=5),
            usage_row("base", served_model="tiny", cost_nano=6),
        ]
    )
    assert lines(registry, "adapter") == {"acme/triage": 3, "tiny": 1}
    assert lines(registry, "version") == {"acme/triage@1.0": 2, "acme/triage@1.1": 1, "tiny": 1}
    spent = registry.spending.between(0, DAY_MS)
    assert spent["adapter:acme/triage"] == Spent(12, 45)
    assert [scope for scope in spent if scope.startswith("adapter:")] == ["adapter:acme/triage"]


def test_usage_by_split_and_by_arm_says_which_alias_was_split(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    split = shop.split({"1.0": 9000, "1.1": 1000})
    shop.registry.ledger.record(
        [
            *(with_ids(shop, f"a{number}", "1.0", split_id=split.id, arm="1.0") for number in range(3)),
            with_ids(shop, "b", "1.1", split_id=split.id, arm="1.1"),
            with_ids(shop, "c", "1.1"),
            usage_row("gone", split_id=99, arm="2.0"),
        ]
    )
    name = f"acme/triage@production split {split.id}"
    assert lines(shop.registry, "split") == {"(none)": 1, name: 4, "split 99": 1}
    assert lines(shop.registry, "arm") == {"(none)": 1, f"{name}: 1.0": 3, f"{name}: 1.1": 1, "split 99: 2.0": 1}


def test_a_swaps_report_counts_rows_with_and_without_ids(shop: Shop) -> None:
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    swap = shop.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="me")
    at = {"started_at_ms": swap.requested_at_ms, "finished_at_ms": swap.requested_at_ms + 1}
    shop.registry.ledger.record(
        [
            with_ids(shop, "a", "1.0", **at),
            usage_row("before", served_model="acme/triage@1.0", **at),
            usage_row("other", served_model="acme/triage-2@1.0", **at),
        ]
    )
    report = report_swap(shop.registry.db, swap.id)
    assert [(part.version, part.attempts) for part in report.versions] == [(f"{TRIAGE.adapter_name}@1.0", 2)]


def test_a_database_from_before_the_ids_says_what_it_said(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    db.migrate()
    row = usage_row("a", split_id=3, arm="1.0")
    with db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.downgrade(configured(connection), "0020")
        connection.execute(insert(USAGE).values(row))
    db.migrate()
    ledger = Ledger(db)
    ledger.record([usage_row("b", split_id=3, arm="1.0", adapter_id=1)])
    with db.read() as session:
        assert wrong_days(session) == []
        kept = session.execute(text("SELECT adapter_id, attempts FROM usage_days ORDER BY adapter_id")).all()
    assert kept == [(0, 1), (1, 1)]
    assert {one["attempt_id"]: one["adapter_id"] for one in ledger.recent(2)} == {"a": None, "b": 1}
    db.close()
