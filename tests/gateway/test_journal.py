"""Usage survives whatever happens to the process, and is counted once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway.cost.journal import Journal, Shipper
from registry.db import Database
from registry.ledger import Ledger
from registry.service import Registry
from registry.settings import RegistrySettings

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with Registry.open(RegistrySettings(state_dir=tmp_path / "var")) as registry:
        yield registry.db


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db)


def row(attempt: str, outcome: str = "lost", tokens: int | None = None) -> dict[str, Any]:
    return {
        "attempt_id": attempt,
        "request_id": attempt,
        "tenant": "acme",
        "key_id": "k",
        "requested_model": "t",
        "served_model": "acme/t@1.0",
        "split_id": None,
        "arm": None,
        "unit_source": None,
        "endpoint": "chat",
        "engine": "http://e",
        "outcome": outcome,
        "prompt_tokens": tokens,
        "cached_tokens": tokens and 0,
        "completion_tokens": tokens,
        "started_at_ms": 1_000,
        "finished_at_ms": None if outcome == "lost" else 2_000,
    }


def outcomes(ledger: Ledger) -> dict[str, tuple[str, int | None]]:
    return {row["attempt_id"]: (row["outcome"], row["completion_tokens"]) for row in ledger.recent(1_000)}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The files


def test_what_settled_is_shipped_once_and_what_runs_is_not_shipped_yet(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    journal.intent(row("a"))
    journal.intent(row("b"))
    journal.settle(row("a", "ok", 7))
    for _ in range(3):
        shipper.ship()
        assert outcomes(ledger) == {"a": ("ok", 7)}
    journal.settle(row("b", "client_aborted"))
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("client_aborted", None)}
    journal.close()


def test_a_second_shipper_over_the_same_files_changes_nothing(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    journal.intent(row("a"))
    journal.settle(row("a", "ok", 7))
    Shipper(journal, ledger).ship()
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    assert ledger.sums(0, 10_000)[0].completion_tokens == 7
    journal.close()


def test_of_a_dead_worker_an_intent_without_an_end_is_lost_and_its_file_goes(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    dead.intent(row("a"))
    dead.intent(row("b"))
    dead.settle(row("a", "ok", 7))
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    shipper.ship()
    assert outcomes(ledger) == {}, "the other worker is alive and ships its own"
    dead.close()
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("lost", None)}
    assert files(journal.folder) == ["usage-w-000001.jsonl"]
    journal.close()


def test_a_torn_last_line_is_no_record(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    dead.intent(row("a"))
    dead.close()
    with dead.path.open("ab") as file:
        file.write(json.dumps(["settle", row("a", "ok", 7)]).encode()[:-20])
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_an_attempt_that_ends_after_its_file_was_full_is_not_lost(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=100)
    shipper = Shipper(journal, ledger)
    journal.intent(row("a"))
    for _ in range(3):
        shipper.ship()
    assert outcomes(ledger) == {}
    assert files(journal.folder) == ["usage-w-000001.jsonl", "usage-w-000002.jsonl"]
    journal.settle(row("a", "ok", 7))
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    shipper.ship()
    assert files(journal.folder) == ["usage-w-000003.jsonl"], "full files go when all of their attempts have ended"
    journal.close()


def test_a_full_file_of_a_live_worker_is_left_to_it(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=100)
    journal.intent(row("a"))
    Shipper(journal, ledger).ship()
    other = Journal(tmp_path / "journal", "other")
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {}
    journal.settle(row("a", "ok", 7))
    journal.close()
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}, "begun in one file of the dead worker and ended in another"
    other.close()


def test_a_worker_with_the_id_of_a_dead_one_begins_a_file_of_its_own(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "w")
    dead.intent(row("a"))
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_a_ledger_that_is_away_loses_nothing(tmp_path: Path, ledger: Ledger, db: Database) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    journal.settle(row("a", "ok", 7))
    rename(db, "usage", "usage_away")
    with pytest.raises(OperationalError, match="no such table: usage"):
        shipper.ship()
    rename(db, "usage_away", "usage")
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    journal.close()


def rename(db: Database, table: str, to: str) -> None:
    with db.write() as session:
        session.execute(text(f"ALTER TABLE {table} RENAME TO {to}"))
