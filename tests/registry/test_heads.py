"""Where logs end is told, so that one whose end was cut off is found short by whoever has kept what was told."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from registry.experiments.infos import Decision
from registry.heads import Head, heads_in
from registry.ledger.segments import SegmentEntry, insert_entries
from registry.prices.baseline_writing import Facts
from registry.service import Registry
from tests.registry.conftest import Shop
from tests.registry.test_experiments import begun
from tests.support.ordered import ordered

NUMBER = {"audit_lines": "seq", "experiment_decisions": "seq", "usage_segments": "sequence", "baseline_log": "seq"}


@pytest.fixture
def busy(shop: Shop) -> Registry:
    """One with lines in every log."""
    shop.versions(2)
    shop.promote("acme/triage@1.0")
    running = begun(shop)
    registry = shop.registry
    registry.baselines.say("vendor-model", Facts(status="live"), source="their page")
    for number in (1, 2, 3):
        registry.experiments.decide(running.id, Decision("hold", f"for the {number}. time"))
        with ordered():
            registry.tenants.change("acme", {"response_days": number})
        entry = SegmentEntry(f"s{number}", "host-1-ab", number, 0, 0, 0, 0, 0, 0, f"{number:032x}", "", False, 0)
        insert_entries(registry.db, [entry])
    return registry


def cut(registry: Registry, table: str, *, lines: int = 1) -> None:
    """Past the triggers, as one may who has the database: the newest lines are gone."""
    with registry.db.write() as session:
        run = session.connection().execute
        if registry.db.engine.dialect.name == "sqlite":
            triggers = f"SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = '{table}'"
            for name in run(text(triggers)).scalars().all():
                run(text(f"DROP TRIGGER {name}"))
        else:
            run(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
        number = NUMBER[table]
        newest = f"(SELECT max({number}) FROM {table})"
        run(text(f"DELETE FROM {table} WHERE {number} > {newest} - {lines}"))


@pytest.mark.parametrize("table", NUMBER)
def test_a_log_whose_end_was_cut_off_is_found_short_by_a_head_that_was_kept(busy: Registry, table: str) -> None:
    kept = "\n".join(f"2026-11-30 logs end with {head}" for head in busy.heads.all())
    heads = heads_in(kept)
    assert {head.log.partition("/")[0] for head in heads} >= {"audit", "decisions", "journal", "prices"}
    assert busy.heads.faults(heads) == []
    cut(busy, table)
    (fault,) = busy.heads.faults(heads)
    assert "its end was cut off" in fault


def test_the_audit_log_alone_cannot_tell(busy: Registry) -> None:
    cut(busy, "audit_lines", lines=3)
    assert busy.audit.prove().faults == ()


def test_an_end_that_was_written_anew_is_another_one(busy: Registry) -> None:
    heads = busy.heads.all()
    cut(busy, "audit_lines", lines=3)
    with ordered():
        busy.tenants.change("acme", {"response_days": 99})
    (fault,) = busy.heads.faults(heads)
    assert "it was written anew" in fault


def test_a_head_stands_for_what_was_before_it_however_much_has_come_since(busy: Registry) -> None:
    heads = busy.heads.all()
    with ordered():
        busy.tenants.change("acme", {"response_days": 99})
    assert busy.heads.faults(heads) == []
    newer = next(head for head in busy.heads.all() if head.log == "audit")
    assert newer not in heads


@pytest.mark.parametrize(
    "log", ["audit/7", "decisions", "decisions/x", "decisions/²", f"decisions/{'9' * 30}", "journal", "secrets"]
)
def test_a_log_that_there_is_not_is_named(busy: Registry, log: str) -> None:
    (fault,) = busy.heads.faults([Head(log, 1, "0" * 32)])
    assert "is no log of this installation" in fault


def test_heads_are_found_in_whatever_text_they_stand() -> None:
    head = Head("journal/host.example-12-ab34-18f", 57, "1f0c" * 8)
    assert heads_in(f'{{"message":"logs end with {head} {head}"}}') == [head, head]
    assert heads_in("head:audit#5=1f0c") == []
