"""Hold rows out of a file that has no held-out rows of its own: by hash, so that a row stays on its side."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from trainer.data.faults import DataError, Fault
from trainer.data.near import near_groups
from trainer.data.overlap import Row, rows_of, seen_rows
from trainer.data.read import Dataset

ENOUGH = 0.5
"""Share of the rows wanted that must be found without parting rows that ask nearly the same."""
Groups = dict[bytes, list[Row]]


@dataclass(frozen=True, slots=True)
class HoldOut:
    """Share of the rows to hold out, and the seed that decides which."""

    share: float
    seed: int


@dataclass(frozen=True, slots=True)
class Split:
    """Both sides. `apart` says that rows which ask nearly the same are on one side, as those that ask the same are."""

    train: Dataset
    heldout: Dataset
    apart: bool


def split(data: Dataset, hold_out: HoldOut) -> Split:
    """Training and held-out rows; rows that ask the same, or nearly, stay together, so that none is on both sides.

    The same rows and seed give the same split, and a file that grows keeps nearly all rows on their sides. Where nearly
    all rows are variants of one text, only those that ask the very same stay together.
    Raises DataError when there is nothing to hold out.
    """
    rows = rows_of(data.examples)
    same = _together(rows, [row.prompts[-1] for row in rows])
    if len(same) < 2:
        text = "all rows ask the same, so none can be held out; add rows with other prompts, or give data.heldout"
        raise DataError((str(data.file), [Fault(rows[0].line, "nothing_to_hold_out", text)]))
    wanted = round(len(rows) * hold_out.share)
    lines = _held_out_lines(_together(rows, _near_keys(data, rows)), wanted, hold_out.seed)
    apart = len(lines) >= max(1, wanted * ENOUGH)
    if not apart:
        lines = _held_out_lines(same, wanted, hold_out.seed) or _smallest(same, hold_out.seed)
    train = [row for row in rows if row.line not in lines]
    held = [row for row in rows if row.line in lines]
    seen = {row.line for row in seen_rows(train, held)}  # a conversation that is the beginning of another one
    lines -= seen
    if not lines:
        text = "every row is the beginning of another one, so none can be held out; give data.heldout"
        raise DataError((str(data.file), [Fault(rows[0].line, "nothing_to_hold_out", text)]))
    return Split(_part(data, rows, lines, held=False), _part(data, rows, lines, held=True), apart)


def _together(rows: list[Row], keys: list[bytes]) -> Groups:
    groups: Groups = {}
    for row, key in zip(rows, keys, strict=True):
        groups.setdefault(key, []).append(row)
    return groups


def _near_keys(data: Dataset, rows: list[Row]) -> list[bytes]:
    """For each row one key of all rows that ask nearly the same, or of which one was made from the other."""
    prompts = [row.prompts[-1] for row in rows]
    by_name = {prompt.hex(): prompt for prompt in prompts}
    joined = _Joined()
    for row, prompt, leader in zip(rows, prompts, near_groups([row.asked for row in rows]), strict=True):
        joined.join(prompt, prompts[leader])
        origin = data.origins.get(row.line)
        if origin is not None and origin.of in by_name:
            joined.join(prompt, by_name[origin.of])
    least: dict[bytes, bytes] = {}
    for prompt in prompts:
        top = joined.top(prompt)
        least[top] = min(least.get(top, prompt), prompt)
    return [least[joined.top(prompt)] for prompt in prompts]


class _Joined:
    """Keys that belong together."""

    def __init__(self) -> None:
        self._above: dict[bytes, bytes] = {}

    def top(self, key: bytes) -> bytes:
        while (above := self._above.get(key, key)) != key:
            self._above[key] = self._above.get(above, above)
            key = above
        return key

    def join(self, one: bytes, other: bytes) -> None:
        one, other = self.top(one), self.top(other)
        if one != other:
            self._above[one] = other


def _held_out_lines(groups: Groups, wanted: int, seed: int) -> set[int]:
    """Whole groups in the order of their hashes, as many as fit."""
    lines: set[int] = set()
    for key in sorted(groups, key=lambda key: _rank(key, seed)):
        if len(lines) + len(groups[key]) <= wanted:
            lines |= {row.line for row in groups[key]}
    return lines


def _smallest(groups: Groups, seed: int) -> set[int]:
    key = min(groups, key=lambda key: (len(groups[key]), _rank(key, seed)))
    return {row.line for row in groups[key]}


def _rank(key: bytes, seed: int) -> bytes:
    return blake2b(key, digest_size=16, key=seed.to_bytes(8, "big")).digest()


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
