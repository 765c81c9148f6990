"""What a file of attempts comes to: what its record says of it, found by reading it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import true

from registry.archive.parquet import opened
from registry.archive.reading import in_duckdb
from registry.archive.schema import SCHEMA
from registry.ledger.segments import RowsDigest
from registry.ledger.usage_days import NAMES, summed
from registry.ledger.usage_record import COLUMNS, TOKENS, Values
from registry.names import SYSTEM

Sums = list[dict[str, Any]]
"""Rows of `usage_days`, in the order of their keys."""
_AT = {column.name: at for at, column in enumerate(COLUMNS)}


class Times(NamedTuple):
    """Milliseconds since the epoch."""

    first_ms: int
    last_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class Contents:
    """Of one file."""

    rows: Sequence[Values]
    corrections: Mapping[str, Sequence[Mapping[str, Any]]]
    """By attempt."""
    sums: Sums

    @property
    def times(self) -> Times:
        """When its attempts began and ended."""
        began = [row[_AT["started_at_ms"]] for row in self.rows]
        ended = [row[_AT["finished_at_ms"]] or row[_AT["started_at_ms"]] for row in self.rows]
        return Times(min(began), max(began), max(ended))

    @property
    def corrected(self) -> int:
        """How many corrections there are."""
        return sum(map(len, self.corrections.values()))


def contents_of(data: bytes, halves: str) -> Contents:
    """Of a file's bytes; `halves` as in `registry.archive.parquet.opened`. Raises `InvalidInput` without the extra."""
    with tempfile.TemporaryDirectory(prefix="usage-archive-") as folder:
        file = Path(folder, "file.parquet")
        file.write_bytes(data)
        with opened([file], SCHEMA, halves=halves) as found:
            rows = [row for query in _sums() for row in found.ask(query)]
            return Contents(found.rows(), found.corrections(), in_order(rows))


@cache
def _sums() -> tuple[str, ...]:
    """They take longer to be put into words than a small file to be read."""
    return tuple(map(in_duckdb, summed(true())))


def in_order(rows: Iterable[Sequence[Any]]) -> Sums:
    """Of rows with the columns of `USAGE_DAYS`."""
    documents = [dict(zip(NAMES, row, strict=True)) for row in sorted(map(tuple, rows), key=lambda row: row[:-2])]
    return [{name: int(value) if _is_decimal(value) else value for name, value in one.items()} for one in documents]


def _is_decimal(value: Any) -> bool:
    """PostgreSQL adds whole numbers up to decimal ones."""
    return not isinstance(value, (str, int, bool, type(None)))


def segments_of(rows: Iterable[Values]) -> dict[str, list[Any]]:
    """Of each segment of these rows: attempts, tokens by kind, and the rows' digest; see `UsageArchive.segments`."""
    figures: dict[str, list[int]] = {}
    digests: dict[str, RowsDigest] = {}
    for row in rows:
        segment = row[_AT["segment"]] or ""
        if not segment and row[_AT["tenant"]] == SYSTEM:
            continue
        of_segment = figures.setdefault(segment, [0] * (1 + len(TOKENS)))
        of_segment[0] += 1
        for place, name in enumerate(TOKENS, start=1):
            of_segment[place] += row[_AT[name]] or 0
        digests.setdefault(segment, RowsDigest()).add(row)
    return {segment: [*of_segment, str(digests[segment])] for segment, of_segment in sorted(figures.items())}
