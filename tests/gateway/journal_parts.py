"""Rows for the usage journal, and what became of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.cost import segments
from registry.ledger import Ledger


def row(attempt: str, outcome: str = "lost", tokens: int | None = None) -> dict[str, Any]:
    """An attempt's row as the meter writes it."""
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
    """Attempt id → outcome and completion tokens."""
    return {row["attempt_id"]: (row["outcome"], row["completion_tokens"]) for row in ledger.recent(1_000)}


def files(folder: Path) -> list[str]:
    """Segments as `WORKER-SEQUENCE`, without the part that tells one life of a worker from another."""
    parts = [path.stem.split("-") for path in sorted(folder.iterdir())]
    return [f"{worker}-{sequence}" for _, worker, _, sequence in parts]


@contextmanager
def full_disk(monkeypatch: Any, room: int = 100) -> Iterator[None]:
    """Journals find room for `room` bytes of a write and no more, as on a full disk, while the block runs."""
    write = segments.write_at_once
    here = threading.get_ident()

    def short(fd: int, data: bytes) -> int:
        return write(fd, data[:room] if threading.get_ident() == here else data)

    with monkeypatch.context() as patched:
        patched.setattr(segments, "write_at_once", short)
        yield
