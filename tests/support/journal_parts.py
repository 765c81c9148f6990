"""Rows for the usage journal, and what became of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.journal import segments
from gateway.journal.journal import Journal
from gateway.journal.rows import Kind, begun, ended, kind_of
from registry.ledger.store import Ledger
from registry.ledger.usage_record import UsageEnd, UsageKind


def kind(key_id: str = "k") -> Kind:
    """What the rows of these tests have in common."""
    return kind_of(UsageKind("acme", key_id, "t", "acme/t@1.0", "chat", "http://e"))


def begin(journal: Journal, attempt: str, key_id: str = "k") -> None:
    """An attempt begins, as the meter says it."""
    journal.intent(attempt.encode(), kind(key_id), begun(1_000, None))


def end(journal: Journal, attempt: str, outcome: str, tokens: int | None = None, key_id: str = "k") -> None:
    """An attempt has ended, with so many tokens of each kind."""
    cached = None if tokens is None else 0
    values = ended(UsageEnd(1_000, 2_000, outcome, tokens, cached, tokens))
    journal.settle(attempt.encode(), kind(key_id), values)


def outcomes(ledger: Ledger) -> dict[str, tuple[str, int | None]]:
    """Attempt id → outcome and completion tokens."""
    return {row["attempt_id"]: (row["outcome"], row["completion_tokens"]) for row in ledger.recent(1_000)}


def files(folder: Path) -> list[str]:
    """Segments as `WORKER-SEQUENCE`, without the part that tells one life of a worker from another."""
    parts = [path.stem.split("-") for path in sorted(folder.iterdir())]
    return [f"{worker}-{sequence}" for _, worker, _, sequence in parts]


@contextmanager
def full_disk(monkeypatch: Any, room: int = 10) -> Iterator[None]:
    """Journals find room for `room` bytes of a write and no more, as on a full disk, while the block runs."""
    write = segments.write_at_once
    here = threading.get_ident()

    def short(fd: int, data: bytes, size: int) -> int:
        return write(fd, data, min(size, room) if threading.get_ident() == here else size)

    with monkeypatch.context() as patched:
        patched.setattr(segments, "write_at_once", short)
        yield
