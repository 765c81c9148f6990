"""Segments that are removed, cut short or overwritten lose no row that can be saved, and what is lost is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.journal.journal import Journal, JournalGone
from gateway.journal.shipper import Shipper
from gateway.journal.verify import verify
from registry.ledger.store import Ledger
from tests.support.journal_parts import begin, end, outcomes


def remove_folder(journal: Journal) -> None:
    shutil.rmtree(journal.folder)


def remove_segment(journal: Journal) -> None:
    journal.path.unlink()


def move_folder(journal: Journal) -> None:
    journal.folder.rename(journal.folder.with_name("away"))


def put_another_there(journal: Journal) -> None:
    journal.path.unlink()
    journal.path.touch()


@pytest.mark.parametrize("remove", [remove_folder, remove_segment, move_folder, put_another_there])
def test_a_segment_that_is_removed_under_its_writer_takes_no_intents_and_is_made_again_whole(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Journal], None]
) -> None:
    monkeypatch.setattr("gateway.journal.journal.LOOK_EVERY_S", 0.0)
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=1_000)
    shipper = Shipper(journal, ledger)
    for number in range(6):
        begin(journal, f"a-{number}")
    journal.tend()  # what is full is closed, and there are two segments
    remove(journal)
    with pytest.raises(JournalGone):
        begin(journal, "refused")
    end(journal, "a-0", "ok", 3)
    shipper.ship()
    begin(journal, "b-0")
    for name in ("b-0", *(f"a-{number}" for number in range(1, 6))):
        end(journal, name, "ok", 3)
    shipper.ship()
    journal.close()
    assert outcomes(ledger) == dict.fromkeys(("b-0", *(f"a-{number}" for number in range(6))), ("ok", 3))
    Shipper(Journal(tmp_path / "journal", "next"), ledger).ship()
    assert verify(tmp_path / "journal", ledger).problems == ()


@pytest.mark.parametrize("left", [0, 30, 250, 400])
def test_a_segment_that_is_cut_short_takes_no_intents_and_what_follows_is_recorded(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: int
) -> None:
    monkeypatch.setattr("gateway.journal.journal.LOOK_EVERY_S", 0.0)
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    for name in ("shipped", "running"):
        begin(journal, name)
    end(journal, "shipped", "ok", 1)
    shipper.ship()
    begin(journal, "cut")
    end(journal, "cut", "ok", 2)
    cut = journal.path
    os.truncate(cut, left)
    end(journal, "running", "ok", 3)
    with pytest.raises(JournalGone, match="removed or cut short"):
        begin(journal, "refused")
    shipper.ship()
    assert "was cut short while it was in use" in caplog.text
    for number in range(5):
        begin(journal, f"later-{number}")
        end(journal, f"later-{number}", "ok", 4)
    shipper.ship()
    assert journal.path != cut
    shipper.ship()
    assert not cut.exists(), "its attempts without an end hold up nothing"
    assert journal.unshipped_bytes == 0
    journal.close()
    following = Journal(tmp_path / "journal", "next")
    Shipper(following, ledger).ship()
    following.close()
    kept = {"shipped": ("ok", 1), "running": ("ok", 3)}
    assert outcomes(ledger) == kept | {f"later-{number}": ("ok", 4) for number in range(5)}
    problems = verify(tmp_path / "journal", ledger).problems
    assert any("are missing" in problem for problem in problems), problems
    assert all(cut.stem in problem or "writer w-" in problem for problem in problems), problems
    assert any("missing" in problem for problem in problems)


def test_a_full_segment_that_is_cut_short_keeps_its_place_in_the_chain(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=200)
    shipper = Shipper(journal, ledger)
    for name in ("a", "b", "c"):
        begin(journal, name)
        shipper.ship()
    full = next(path for path in sorted(journal.folder.iterdir()) if path != journal.path)
    os.truncate(full, 0)
    for name in ("a", "b", "c"):
        end(journal, name, "ok", 7)
    for _ in range(2):
        shipper.ship()
    assert outcomes(ledger) == dict.fromkeys(("a", "b", "c"), ("ok", 7))
    assert [path.name for path in journal.folder.glob("damaged-*")] == [f"damaged-{full.name}"]
    problems = verify(journal.folder, ledger).problems
    assert problems
    assert all(full.stem in problem for problem in problems), problems
    journal.close()


def test_a_segment_of_a_dead_worker_that_is_cut_short_while_it_is_shipped_holds_up_nothing(
    tmp_path: Path, ledger: Ledger
) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    begin(dead, "a")
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    shipper.recover()
    os.truncate(dead.path, 0)
    for _ in range(2):
        shipper.ship()
    assert sorted(path.name for path in journal.folder.iterdir()) == [f"damaged-{dead.path.name}", journal.path.name]
    journal.close()


def test_a_segment_that_is_overwritten_in_place_is_named_by_verify(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    begin(journal, "a")
    end(journal, "a", "ok", 7)
    Shipper(journal, ledger).ship()
    with journal.path.open("r+b") as file:
        file.seek(200)
        file.write(b"x" * 20)
    end(journal, "b", "ok", 8)
    assert any(journal.path.stem in problem for problem in verify(journal.folder, ledger).problems)
    journal.close()


def test_what_a_dead_worker_left_and_somebody_removes_while_it_is_shipped_is_not_lost(
    tmp_path: Path, ledger: Ledger
) -> None:
    folder = tmp_path / "journal"
    dead = Journal(folder, "dead")
    begin(dead, "a-0")
    end(dead, "a-0", "ok", 3)
    dead.close()
    shipper = Shipper(Journal(folder, "w"), ledger)
    shipper.recover()
    shutil.rmtree(folder)
    shipper.ship()
    assert outcomes(ledger) == {"a-0": ("ok", 3)}


def test_a_line_that_was_altered_is_passed_over_and_its_file_is_kept(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    for attempt in ("a", "b"):
        begin(dead, attempt)
        end(dead, attempt, "ok", 7)
    dead.close()
    dead.path.write_bytes(dead.path.read_bytes().replace(b'"ok",7,0,7', b'"ok",7,0,9', 1))
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None), "b": ("ok", 7)}
    assert "record 3: its checksum does not match" in caplog.text
    assert (journal.folder / f"damaged-{dead.path.name}").exists()
    assert any("1 faults were found" in problem for problem in ledger.audit([]))
    journal.close()
