"""Keys of training rows: what changed from one version to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.adapters.training_rows import (
    HEAD,
    MAX_ROWS,
    TRAINING_ROWS_FILE,
    RowKey,
    parse_rows,
    require_rows,
    row_changes,
    row_key,
    rows_bytes,
)
from registry.errors import AdapterRefused


def keys(*rows: str) -> list[RowKey]:
    """Of rows written as `question answer`."""
    return [row_key("acme", line, row.split()[0], row) for line, row in enumerate(rows, start=1)]


def test_rows_are_kept_added_removed_or_answered_otherwise() -> None:
    changes = row_changes(keys("a 1", "b 2", "c 3", "d 4"), keys("d 4", "b 9", "e 5", "a 1"))
    assert (changes.kept, changes.added, changes.changed, changes.removed) == (2, (3,), (2,), (3,))


def test_a_row_counts_as_often_as_it_is_there() -> None:
    assert row_changes(keys("a 1", "a 1"), keys("a 1")).removed == (1,)
    assert row_changes(keys("a 1"), keys("a 1", "a 1", "a 2")).added == (2, 3)


def test_nothing_changes_where_only_the_order_does() -> None:
    changes = row_changes(keys("a 1", "b 2"), keys("b 2", "a 1"))
    assert (changes.added, changes.removed, changes.changed, changes.kept) == ((), (), (), 2)


def test_many_rows_are_compared_in_a_moment_and_of_very_many_there_are_no_keys() -> None:
    many = [RowKey(line, line.to_bytes(8), line.to_bytes(12)) for line in range(20_000)]
    assert len(row_changes(many, many[1:]).removed) == 1
    assert rows_bytes(many[:1] * (MAX_ROWS + 1)) is None


def test_a_file_of_keys_reads_back_and_anything_else_does_not() -> None:
    written = rows_bytes(keys("a 1", "b 2"))
    assert written is not None
    assert parse_rows(written) == keys("a 1", "b 2")
    for other in (b"", b"{}", written[:-1], written + b"x", HEAD + bytes(24 * (MAX_ROWS + 1))):
        with pytest.raises(ValueError, match="no training rows"):
            parse_rows(other)


def test_two_tenants_have_different_keys_for_the_same_row() -> None:
    assert row_key("acme", 1, "a", "a 1") != row_key("umbrella", 1, "a", "a 1")


def test_a_folder_with_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    require_rows(tmp_path)
    (tmp_path / TRAINING_ROWS_FILE).write_bytes(b"lies")
    with pytest.raises(AdapterRefused, match="training_rows"):
        require_rows(tmp_path)
