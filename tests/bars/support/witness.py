"""A witness of the usage journal: it keeps every segment that was ever there, whatever becomes of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.journal.records import INTENT
from gateway.journal.rows import row_of
from gateway.journal.segments import PATTERN, SegmentReader
from registry.ledger.usage_record import UsageRow

POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Testimony:
    """What the segments say."""

    intents: set[str] = field(default_factory=set)
    settles: dict[str, list[UsageRow]] = field(default_factory=dict)
    """Attempt id → the rows of its settle records."""


@contextmanager
def witness(journal: Path, kept: Path) -> Iterator[None]:
    """Give every segment a second name in `kept` as soon as it appears, while the block runs."""
    kept.mkdir()
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(POLL_S):
            for path in journal.glob(PATTERN):
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(path, kept / path.name)

    thread = threading.Thread(target=watch, name="witness")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def testify(kept: Path) -> Testimony:
    """Read all of it."""
    said = Testimony()
    for path in sorted(kept.iterdir()):
        reader = SegmentReader(path)
        while records := reader.read(1 << 20):
            for type_, name, kind, values in records:
                attempt_id = name.decode()
                if type_ == INTENT:
                    said.intents.add(attempt_id)
                else:
                    said.settles.setdefault(attempt_id, []).append(row_of(name, kind, values))
    return said
