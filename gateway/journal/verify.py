"""Is every record of the usage journal there and as it was written, and is every attempt in the ledger once?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gateway.journal.records import INTENT, SETTLE
from gateway.journal.recovery import BLOCK_BYTES, is_alive
from gateway.journal.segments import DAMAGED, SegmentReader, segments_in, writer_and_sequence
from registry.ledger.segments import Link
from registry.ledger.store import Ledger


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what is wrong."""

    segments: int
    """Files on disk; those that were shipped whole are gone, and have entries in the ledger."""
    records: int
    running: int
    """Attempts of live workers that have begun and not ended."""
    problems: tuple[str, ...]
    """A sentence each; none: all is right."""


def verify(folder: Path, ledger: Ledger) -> Verification:
    """Read every segment in the folder and hold the ledger against them. Changes nothing. Raises `OSError`.

    What a live worker does meanwhile is no problem.
    """
    problems: list[str] = []
    links: list[Link] = []
    records = running = 0
    paths = sorted((*segments_in(folder), *segments_in(folder, DAMAGED)), key=writer_and_sequence)
    for writer, found in groupby(paths, key=lambda path: writer_and_sequence(path)[0]):
        open_attempts: set[bytes] = set()
        alive = False
        for path in found:
            alive = is_alive(path)
            try:
                reader = _read(path, open_attempts)
            except FileNotFoundError:  # shipped meanwhile: the ledger has its entry
                continue
            records += reader.records
            closing = reader.closing
            links.append(
                Link(
                    *writer_and_sequence(path),
                    path.stem.removeprefix(DAMAGED),
                    closing.digest if closing else None,
                    closing.previous if closing else None,
                )
            )
            problems += [f"segment {path.stem}: {fault}" for fault in reader.faults]
            if reader.records == 0:  # they are given their names with a header in them
                problems.append(f"segment {path.stem}: it is empty; all that it had is gone")
        if alive:
            running += len(open_attempts)
        else:
            problems += _unresolved(writer, open_attempts)
    problems += ledger.audit(links)
    return Verification(len(links), records, running, tuple(problems))


def _read(path: Path, open_attempts: set[bytes]) -> SegmentReader:
    reader = SegmentReader(path)
    while found := reader.read(BLOCK_BYTES):
        for type_, attempt_id, _, _ in found:
            if type_ == INTENT:
                open_attempts.add(attempt_id)
            elif type_ == SETTLE:
                open_attempts.discard(attempt_id)
    return reader


def _unresolved(writer: str, attempts: set[bytes]) -> Iterator[str]:
    if attempts:
        named = ", ".join(name.decode() for name in sorted(attempts)[:3]) + (", …" if len(attempts) > 3 else "")
        yield (
            f"writer {writer} is dead and {len(attempts)} of its attempts have no end ({named}); "
            "a gateway that starts or runs on this state folder marks them lost"
        )
