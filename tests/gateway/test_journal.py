"""Usage survives whatever happens to the process, and is counted once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from gateway.journal.journal import Journal, JournalFull
from gateway.journal.records import SETTLE, encode
from gateway.journal.shipper import Shipper
from gateway.journal.verify import verify
from registry.db import Database
from registry.ledger.store import Ledger
from registry.ledger.usage_report import report_usage
from tests.support.journal_parts import begin, end, files, full_disk, kind, outcomes
from tests.support.program import running

REPOSITORY = Path(__file__).parents[2]


def test_what_settled_is_shipped_once_and_what_runs_is_not_shipped_yet(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    begin(journal, "a")
    begin(journal, "b")
    end(journal, "a", "ok", 7)
    for _ in range(3):
        shipper.ship()
        assert outcomes(ledger) == {"a": ("ok", 7)}
    end(journal, "b", "client_aborted")
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("client_aborted", None)}
    assert journal.unshipped_bytes == 0
    journal.close()


def test_a_second_shipper_over_the_same_files_changes_nothing(tmp_path: Path, db: Database, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    begin(journal, "a")
    end(journal, "a", "ok", 7)
    Shipper(journal, ledger).ship()
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    assert [line.completion_tokens for line in report_usage(db, "version", until_ms=10_000).lines] == [7]
    journal.close()


def test_of_a_dead_worker_an_intent_without_an_end_is_lost_and_its_file_goes(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    begin(dead, "b")
    end(dead, "a", "ok", 7)
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    shipper.ship()
    assert outcomes(ledger) == {}, "the other worker is alive and ships its own"
    dead.close()
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("lost", None)}
    assert files(journal.folder) == ["w-000001"]
    assert ledger.audit([]) == []
    journal.close()


def test_what_is_lost_is_marked_at_the_start_before_anything_is_shipped(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    assert shipper.recover() == 1
    assert outcomes(ledger) == {}
    stranger = Journal(tmp_path / "journal", "stranger")
    assert Shipper(stranger, ledger).recover() == 0, "one worker takes it over, others leave it to that one"
    shipper.ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    for each in (journal, stranger):
        each.close()


def test_before_there_are_requests_what_the_dead_left_is_brought_to_the_ledger(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    for attempt in ("a", "b"):
        begin(dead, attempt)
    end(dead, "a", "ok", 7)
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    assert shipper.recover() == 1
    assert shipper.catch_up(within_s=60)
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("lost", None)}
    assert shipper.catch_up(within_s=60), "nothing is left"
    journal.close()


def test_a_segment_that_was_emptied_is_kept_as_damaged_and_said_to_be(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    os.truncate(dead.path, 0)
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    assert shipper.recover() == 0
    shipper.ship()
    assert [record.message for record in caplog.records] == [f"{dead.path.name}: it was empty: all that it had is gone"]
    assert [path.name for path in journal.folder.glob("damaged-*")] == [f"damaged-{dead.path.name}"]
    assert ledger.audit([]) == [f"segment {dead.path.stem}: 1 faults were found when it was shipped"]
    journal.close()


def test_what_there_was_no_time_for_at_the_start_comes_to_the_ledger_later(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    shipper.recover()
    assert not shipper.catch_up(within_s=-1)
    assert outcomes(ledger) == {}
    shipper.ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_a_start_without_a_ledger_leaves_the_rest_for_later(tmp_path: Path, ledger: Ledger, db: Database) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    shipper.recover()
    with usage_away(db):
        assert not shipper.catch_up(within_s=60)
    assert shipper.catch_up(within_s=60)
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_what_a_worker_had_taken_over_when_it_died_is_taken_over_again(tmp_path: Path, ledger: Ledger) -> None:
    code = f"""
import os, pathlib
from gateway.journal.journal import Journal
from gateway.journal.recovery import take_over
from tests.support.journal_parts import begin
folder = pathlib.Path({str(tmp_path / "journal")!r})
dead = Journal(folder, "dead")
begin(dead, "a"); dead.close()
assert [estate.lost for estate in take_over(folder, ())] == [1]
os.kill(os.getpid(), 9)
"""
    assert subprocess.run(running(code), cwd=REPOSITORY, check=False).returncode == -9
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    assert shipper.recover() == 0, "it is marked already"
    shipper.ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    assert ledger.audit([]) == []
    journal.close()


def test_a_torn_last_line_is_no_record(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    with dead.path.open("ab") as file:
        file.write(encode(3, SETTLE, b"a", b"%b []" % kind().name)[:-3])
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    assert ledger.audit([]) == []
    journal.close()


def test_an_attempt_that_ends_after_its_file_was_full_is_not_lost(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=200)
    shipper = Shipper(journal, ledger)
    begin(journal, "a")
    for _ in range(3):
        shipper.ship()
    assert outcomes(ledger) == {}
    assert files(journal.folder) == ["w-000001", "w-000002"]
    end(journal, "a", "ok", 7)
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    shipper.ship()
    assert files(journal.folder) == ["w-000003"], "full files go when all of their attempts have ended"
    journal.close()


def test_a_settle_record_does_not_go_before_its_intent(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=200)
    shipper = Shipper(journal, ledger)
    begin(journal, "a")
    begin(journal, "b")
    shipper.ship()
    end(journal, "a", "ok", 7)
    for _ in range(3):
        shipper.ship()
    assert files(journal.folder) == ["w-000001", "w-000002", "w-000003"], "b began in the first"
    journal.close()
    other = Journal(tmp_path / "journal", "other")
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("lost", None)}
    assert ledger.audit([]) == []
    other.close()


def test_a_full_file_of_a_live_worker_is_left_to_it(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=200)
    begin(journal, "a")
    Shipper(journal, ledger).ship()
    other = Journal(tmp_path / "journal", "other")
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {}
    end(journal, "a", "ok", 7)
    journal.close()
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}, "begun in one file of the dead worker and ended in another"
    other.close()


def test_a_worker_with_the_id_of_a_dead_one_begins_a_file_of_its_own(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "w")
    begin(dead, "a")
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_a_ledger_that_is_away_loses_nothing(tmp_path: Path, ledger: Ledger, db: Database) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    begin(journal, "a")
    end(journal, "a", "ok", 7)
    with usage_away(db), pytest.raises(OperationalError, match="no such table: usage"):
        shipper.ship()
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    journal.close()


def test_while_the_ledger_is_away_so_much_is_accepted_and_all_of_that_ends(
    tmp_path: Path, ledger: Ledger, db: Database
) -> None:
    measured = Journal(tmp_path / "measured", "w")
    for attempt in ("a", "b"):
        begin(measured, attempt)
    most = measured.unshipped_bytes
    measured.close()
    journal = Journal(tmp_path / "journal", "w", max_unshipped_bytes=most)
    shipper = Shipper(journal, ledger)
    accepted = ["a", "b", "c"]
    with usage_away(db):
        for attempt in accepted:
            begin(journal, attempt)
        with pytest.raises(JournalFull, match=rf"journal_max_unshipped_bytes is {most} and \d+ bytes wait"):
            begin(journal, "d")
        for attempt in accepted:
            end(journal, attempt, "ok", 7)
        with pytest.raises(OperationalError):
            shipper.ship()
    shipper.ship()
    assert outcomes(ledger) == dict.fromkeys(accepted, ("ok", 7))
    begin(journal, "later")
    journal.close()


def test_on_a_full_disk_what_was_accepted_ends_and_nothing_new_begins(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal", "w")
    begin(journal, "a")
    with full_disk(monkeypatch):
        with pytest.raises(OSError, match="No space left"):
            begin(journal, "b")
        end(journal, "a", "ok", 7)
        with pytest.raises(OSError, match="No space left"):
            begin(journal, "c")
        Shipper(journal, ledger).ship()
        assert outcomes(ledger) == {}
    begin(journal, "d")
    end(journal, "d", "ok", 8)
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "d": ("ok", 8)}
    journal.close()
    other = Journal(tmp_path / "journal", "other")
    Shipper(other, ledger).ship()
    assert ledger.audit([]) == []
    other.close()


def test_what_waited_for_room_is_written_by_the_shipper_too(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal", "w")
    begin(journal, "a")
    with full_disk(monkeypatch):
        end(journal, "a", "ok", 7)
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    journal.close()


def test_a_row_that_sql_never_takes_holds_up_nothing_and_its_file_is_kept(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    for attempt, tokens in (("a", 7), ("b", 1 << 63), ("c", 8)):
        begin(dead, attempt)
        end(dead, attempt, "ok", tokens)
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "c": ("ok", 8)}
    assert (journal.folder / f"damaged-{dead.path.name}").exists()
    assert any("the journal had 3 attempts, the ledger has 2" in problem for problem in ledger.audit([]))
    journal.close()


def test_files_of_other_names_are_nobodys_business(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    for stray in ("usage-old-copy.log", f"{dead.path.stem} (copy).log", "usage-1.log", "usage-.log"):
        (tmp_path / "journal" / stray).write_bytes(dead.path.read_bytes())
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    assert verify(journal.folder, ledger).problems == ()
    journal.close()


def test_no_fsync_is_made_by_who_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=200)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: pytest.fail("it waits for the disk"))
        for number in range(10):
            begin(journal, f"{number}")
            end(journal, f"{number}", "ok", 7)
    journal.close()


class usage_away:  # noqa: N801 – reads as a block
    """The ledger's table is gone while the block runs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._rename("usage", "usage_away")

    def __exit__(self, *_: object) -> None:
        self._rename("usage_away", "usage")

    def _rename(self, table: str, to: str) -> None:
        with self._db.write() as session:
            session.execute(text(f"ALTER TABLE {table} RENAME TO {to}"))
