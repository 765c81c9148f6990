"""Which rows a version was trained on: a digest of each, so that two versions can be compared without their data.

A file of fixed records, in the order of lines: line (4 bytes), digest of what is asked (8) and of the whole row (12).
Digests are keyed by tenant: rows of two tenants cannot be held against each other. Who reads the registry's blobs can
still find out whether a row that he guesses was trained on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from registry.errors import AdapterRefused, Finding

TRAINING_ROWS_FILE = "training_rows.bin"
MAX_ROWS = 200_000
"""Of more there is no file: it would be larger than most adapters."""
HEAD = b"switchyard training rows 1\n"
_RECORD = struct.Struct(">I8s12s")
MAX_ROWS_BYTES = len(HEAD) + MAX_ROWS * _RECORD.size


@dataclass(frozen=True, slots=True)
class RowKey:
    """One row: its 1-based line, and digests of what it asks and of all of it."""

    line: int
    asked: bytes
    whole: bytes


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Lines of the newer version's rows that are `added` or `changed` (the same question, another answer), and of the
    older one's that are `removed`. `kept` rows are in both.
    """

    added: tuple[int, ...]
    removed: tuple[int, ...]
    changed: tuple[int, ...]
    kept: int


def row_key(tenant: str, line: int, asked: str, whole: str) -> RowKey:
    """The key of a row whose question and whole are these texts."""
    return RowKey(line, _digest(tenant, asked, 8), _digest(tenant, whole, 12))


def rows_bytes(keys: Sequence[RowKey]) -> bytes | None:
    """The file; None when there are too many rows for one."""
    if len(keys) > MAX_ROWS:
        return None
    return HEAD + b"".join(_RECORD.pack(key.line, key.asked, key.whole) for key in keys)


def parse_rows(data: bytes) -> list[RowKey]:
    """What `rows_bytes` wrote. Raises ValueError for anything else."""
    if not data.startswith(HEAD) or len(data) > MAX_ROWS_BYTES or (len(data) - len(HEAD)) % _RECORD.size:
        raise ValueError("these are no training rows")
    return [RowKey(*record) for record in _RECORD.iter_unpack(data[len(HEAD) :])]


def require_rows(folder: Path) -> None:
    """Raises `AdapterRefused` when the folder has such a file and it is none."""
    try:
        parse_rows((folder / TRAINING_ROWS_FILE).read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        finding = Finding("not_training_rows", TRAINING_ROWS_FILE, "other bytes", "what the trainer wrote; delete it")
        raise AdapterRefused((finding,)) from None


def row_changes(older: Sequence[RowKey], newer: Sequence[RowKey]) -> RowChanges:
    """Compare two sets of rows; a row that is there several times is compared as often."""
    added, removed = _unmatched(older, newer, "whole")
    new, gone = _unmatched(removed, added, "asked")
    fresh = {key.line for key in new}
    return RowChanges(
        added=tuple(sorted(fresh)),
        removed=tuple(sorted(key.line for key in gone)),
        changed=tuple(sorted(key.line for key in added if key.line not in fresh)),
        kept=len(newer) - len(added),
    )


def _unmatched(
    older: Iterable[RowKey], newer: Iterable[RowKey], name: Literal["asked", "whole"]
) -> tuple[list[RowKey], list[RowKey]]:
    """Of the newer ones those without a partner among the older ones, and the older ones that are left."""
    left: dict[bytes, list[RowKey]] = {}
    for key in older:
        left.setdefault(getattr(key, name), []).append(key)
    alone = []
    for key in newer:
        partners = left.get(getattr(key, name))
        if partners:
            partners.pop()
        else:
            alone.append(key)
    return alone, [key for keys in left.values() for key in keys]


def _digest(tenant: str, text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size, key=tenant.encode()[:64]).digest()
