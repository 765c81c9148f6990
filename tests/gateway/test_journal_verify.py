"""`switchyard ledger`: a record that is lost, altered or doubled is found and named; corrections are rows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.journal.journal import Journal
from gateway.journal.records import HEADER, encode
from gateway.journal.segments import DAMAGED
from gateway.journal.shipper import Shipper
from registry.errors import InvalidInput, NotFound
from registry.ledger.usage_report import report_usage
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, run  # noqa: F401 – a fixture
from tests.support.journal_parts import begin, end, kind


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with two shipped segments of a worker that stopped in order, and two more on disk."""
    state = tmp_path / "state"
    with Registry.open(RegistrySettings(state_dir=state)) as registry:
        journal = Journal(state / "journal", "w", rotate_bytes=200)
        shipper = Shipper(journal, registry.ledger)
        for attempt in "abc":
            begin(journal, attempt)
            end(journal, attempt, "ok", 7)
            if attempt != "c":
                shipper.ship()
                shipper.ship()
        journal.close()
    return state


def segment_on_disk(state: Path) -> Path:
    """The one with a record in it."""
    return next(path for path in (state / "journal").iterdir() if path.stem.endswith("-000003"))


def edit(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    """A change of the lines on disk."""

    def edited(state: Path) -> None:
        path = segment_on_disk(state)
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return edited


def sql(*statements: str) -> Callable[[Path], None]:
    """A change behind the ledger's back, with its triggers out of the way."""

    def changed(state: Path) -> None:
        with closing(sqlite3.connect(state / "registry.db")) as connection:
            for table in ("usage", "usage_segments"):
                for verb in ("update", "delete"):
                    connection.execute(f"DROP TRIGGER {table}_no_{verb}")
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return changed


def test_all_is_right_after_an_orderly_end_and_in_the_middle_of_things(state: Path, run: Run) -> None:  # noqa: F811
    outcome = run("ledger", "verify", "--json")
    assert outcome.status == 0, outcome.out
    none_archived = {"archives": 0, "problems": []}
    assert outcome.document == {**none_archived, "segments": 2, "records": 7, "running": 0}
    journal = Journal(state / "journal", "other")
    begin(journal, "d")
    assert run("ledger", "verify", "--json").document == {
        **none_archived,
        "segments": 3,
        "records": 10,
        "running": 1,
    }
    assert "all is right" in run("ledger", "verify").out
    journal.close()
    outcome = run("ledger", "verify")
    assert outcome.status == 1
    assert "is dead and 1 of its attempts have no end (d)" in outcome.out


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        pytest.param(
            edit(lambda lines: [*lines[:3], lines[3].replace(b"ok", b"no"), lines[4]]),
            "record 3: its checksum does not match",
            id="altered",
        ),
        pytest.param(edit(lambda lines: [*lines[:2], *lines[3:]]), "record 2 is missing", id="lost in the middle"),
        pytest.param(edit(lambda lines: [*lines[:4], *lines[3:]]), "record 3 comes after record 3", id="doubled"),
        pytest.param(
            edit(lambda lines: [*lines, lines[3]]), "record 3 comes after the closing record", id="after the end"
        ),
        pytest.param(
            edit(lambda lines: [lines[0], lines[1].replace(b"acme", b"evil"), *lines[2:]]),
            f"record 2 is of the kind {kind().name.decode()}, which no record before declares",
            id="whose it was altered",
        ),
        pytest.param(
            edit(lambda lines: [encode(0, HEADER, b"w", b'{"format":1}'), *lines[1:]]),
            "its format is 1, and this version reads 2",
            id="of another version",
        ),
        pytest.param(lambda state: os.truncate(segment_on_disk(state), 0), "it is empty", id="emptied"),
        pytest.param(lambda state: segment_on_disk(state).unlink(), "segment 3 of writer w-", id="a segment gone"),
        pytest.param(
            lambda state: [path.unlink() for path in (state / "journal").iterdir()],
            "segment 3 of writer w-",
            id="the last segments gone",
        ),
        pytest.param(
            sql("DELETE FROM usage WHERE attempt_id = 'a'"), "the journal had 1 attempts, the ledger has 0", id="no row"
        ),
        pytest.param(
            sql("UPDATE usage SET completion_tokens = 6 WHERE attempt_id = 'b'"),
            "the journal had 7 completion_tokens, the ledger has 6",
            id="row edited",
        ),
        *(
            pytest.param(
                sql(f"UPDATE usage SET {change} WHERE attempt_id = 'a'"),
                "its usage rows are not as the journal had them",
                id=change,
            )
            for change in (
                "cost_nano = 5",
                "tenant = 'globex'",
                "key_id = 'another'",
                "outcome = 'engine_failed'",
                "started_at_ms = started_at_ms - 86400000",
                "attempt_id = 'z'",
            )
        ),
        pytest.param(
            sql("UPDATE usage SET segment = NULL WHERE attempt_id = 'a'"),
            "1 attempts of tenants came by no journal",
            id="a row of nowhere",
        ),
        pytest.param(sql("DELETE FROM usage_segments WHERE sequence = 1"), "the segment is nowhere", id="no entry"),
        pytest.param(
            sql("UPDATE usage_segments SET digest = 'x' WHERE sequence = 1"),
            "was not written after the segment that stands before it",
            id="chain broken",
        ),
    ],
)
def test_what_is_wrong_is_named(state: Path, run: Run, harm: Callable[[Path], None], problem: str) -> None:  # noqa: F811
    harm(state)
    outcome = run("ledger", "verify")
    assert outcome.status == 1, outcome.out
    assert problem in outcome.out


def test_a_damaged_segment_stays_a_problem_after_it_was_shipped(state: Path, run: Run) -> None:  # noqa: F811
    edit(lambda lines: [*lines[:3], b"rubbish\n", lines[4]])(state)
    with Registry.open(RegistrySettings(state_dir=state)) as registry:
        journal = Journal(state / "journal", "other")
        Shipper(journal, registry.ledger).ship()
        journal.close()
        assert {found["attempt_id"]: found["outcome"] for found in registry.ledger.recent(9)} == {
            "a": "ok",
            "b": "ok",
            "c": "lost",
        }
    assert sum(path.name.startswith(DAMAGED) for path in (state / "journal").iterdir()) == 1
    outcome = run("ledger", "verify")
    assert outcome.status == 1
    assert "record 3: its checksum does not match" in outcome.out
    assert "1 faults were found when it was shipped" in outcome.out


def test_a_correction_is_a_row_that_sums_have_in_them(state: Path, run: Run) -> None:  # noqa: F811
    outcome = run("ledger", "correct", "a", "--completion", "-3", "--reason", "counted twice by the engine")
    assert outcome.status == 0, outcome.err
    with Registry.open(RegistrySettings(state_dir=state)) as registry:
        assert report_usage(registry.db, "version", until_ms=10_000).lines[0].completion_tokens == 2 * 7 - 3
        assert {found["completion_tokens"] for found in registry.ledger.recent(9)} == {7}, "rows stay as they are"
        with pytest.raises(InvalidInput, match=r"completion_tokens is -5: 4 are booked, and they cannot become neg"):
            registry.ledger.correct("a", "more", "me", {"completion_tokens": -5})
        with pytest.raises(InvalidInput, match=r"cached_tokens would be 9, and they are a part of the 7 prompt tokens"):
            registry.ledger.correct("a", "more", "me", {"cached_tokens": 9})
        with pytest.raises(InvalidInput, match=r"cost_nano is -1: 0 are booked, and they cannot become negative"):
            registry.ledger.correct("a", "more", "me", {"cost_nano": -1})
        with pytest.raises(InvalidInput, match=r"cost_nano is \d+: 0 are booked, and they cannot become more than"):
            registry.ledger.correct("a", "more", "me", {"cost_nano": 1 << 63})
        with pytest.raises(NotFound, match="'zz' is not in the ledger"):
            registry.ledger.correct("zz", "why", "me", {"completion_tokens": 1})
        with pytest.raises(InvalidInput, match="tenant cannot be corrected"):
            registry.ledger.correct("a", "why", "me", {"tenant": 1})
        with pytest.raises(InvalidInput, match="all 0"):
            registry.ledger.correct("a", "why", "me", {"prompt_tokens": 0})
        with pytest.raises(InvalidInput, match="reason is empty"):
            registry.ledger.correct("a", " ", "me", {"prompt_tokens": 1})
    assert run("ledger", "verify").status == 0
