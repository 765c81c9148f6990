"""Hold rows out of a file that has no held-out rows of its own: by hash, so that a row stays on its side."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from trainer.data.faults import DataError, Fault
from trainer.data.overlap import Row, rows_of, seen_rows
from trainer.data.read import Dataset


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Share of the rows to hold out, and the seed that decides which."""

    share: float
    seed: int


def split(data: Dataset, hold_out: HoldOut) -> tuple[Dataset, Dataset]:
    """Training and held-out rows; rows that ask the same stay together, so that none is on both sides.

    The same rows and seed give the same split, and a file that grows keeps nearly all rows on their sides.
    Raises DataError when there is nothing to hold out.
    """
    rows = rows_of(data.examples)
    groups: dict[bytes, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.prompts[-1], []).append(row)
    if len(groups) < 2:
        text = "all rows ask the same, so none can be held out; add rows with other prompts, or give data.heldout"
        raise DataError((str(data.file), [Fault(rows[0].line, "nothing_to_hold_out", text)]))
    lines = _held_out_lines(groups, round(len(rows) * hold_out.share), hold_out.seed)
    train = [row for row in rows if row.line not in lines]
    held = [row for row in rows if row.line in lines]
    seen = {row.line for row in seen_rows(train, held)}  # a conversation that is the beginning of another one
    lines -= seen
    if not lines:
        text = "every row is the beginning of another one, so none can be held out; give data.heldout"
        raise DataError((str(data.file), [Fault(rows[0].line, "nothing_to_hold_out", text)]))
    return _part(data, rows, lines, held=False), _part(data, rows, lines, held=True)


def _held_out_lines(groups: dict[bytes, list[Row]], wanted: int, seed: int) -> set[int]:
    """Whole groups in the order of their hashes, as many as fit; the smallest one when none does."""

    def rank(key: bytes) -> bytes:
        return blake2b(key, digest_size=16, key=seed.to_bytes(8, "big")).digest()

    ordered = [groups[key] for key in sorted(groups, key=rank)]
    lines: set[int] = set()
    for group in ordered:
        if len(lines) + len(group) <= wanted:
            lines |= {row.line for row in group}
    return lines or {row.line for row in min(ordered, key=len)}


def _part(data: Dataset, rows: list[Row], lines: set[int], *, held: bool) -> Dataset:
    chosen = [row for row in rows if (row.line in lines) is held]
    return Dataset(
        data.file,
        data.digest,
        len(chosen),
        tuple(example for row in chosen for example in row.examples),
        data.format,
        tuple(pair for pair in data.preferences if (pair.line in lines) is held),
        {line: origin for line, origin in data.origins.items() if (line in lines) is held},
    )
