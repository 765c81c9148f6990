"""What dead workers left in the journal: every intent without an end is marked `lost`, and the chain is ended."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from gateway.journal.mending import restored
from gateway.journal.records import INTENT, SETTLE
from gateway.journal.rows import Kind, lost
from gateway.journal.segments import SegmentReader, SegmentWriter, segments_in, writer_and_sequence

BLOCK_BYTES = 256 * 1024
"""Fits the processor's cache, where ten times as much would take half as long again."""


@dataclass(frozen=True, slots=True)
class Estate:
    """The segments of a dead writer, oldest first, and the descriptors whose locks keep others away from them."""

    writer: str
    paths: tuple[Path, ...]
    fds: tuple[int, ...]
    lost: int
    """Attempts that were marked so now."""

    def restored(self) -> Estate:
        """The same, with segments that were removed meanwhile made again. Raises `OSError`."""
        fds = list(self.fds)
        for number, (path, fd) in enumerate(zip(self.paths, self.fds, strict=True)):
            if not path.exists():
                fds[number] = restored(path, fd)
                os.close(fd)
        return replace(self, fds=tuple(fds))

    def release(self) -> None:
        """Give the locks up."""
        for fd in self.fds:
            os.close(fd)


def by_writer(folder: Path) -> dict[str, list[Path]]:
    """The segments in a folder, oldest first, by writer."""
    paths = segments_in(folder)
    return {writer: list(found) for writer, found in groupby(paths, key=lambda path: writer_and_sequence(path)[0])}


def take_over(folder: Path, ours: Collection[str]) -> list[Estate]:
    """Lock and settle what dead workers left; what live ones write to or another worker has taken is not touched.

    `ours` are writers that need no look. Raises `OSError` when the disk has no room to mark what is lost: nothing is
    done wrong then, and the next call goes on.
    """
    estates = []
    for writer, paths in by_writer(folder).items():
        if writer in ours:
            continue
        fds = _lock(paths)
        if fds is None:
            continue
        try:
            lost = _settle(paths, fds)
        except BaseException:
            Estate(writer, tuple(paths), tuple(fds), 0).release()
            raise
        estates.append(Estate(writer, tuple(paths), tuple(fds), lost))
    return estates


def is_alive(path: Path) -> bool:
    """Whether a worker holds the segment."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _lock(paths: list[Path]) -> list[int] | None:
    """Descriptors of all of them, locked; None when somebody has one, or has been quicker and removed one."""
    fds: list[int] = []
    try:
        for path in paths:
            fds.append(os.open(path, os.O_RDWR | os.O_APPEND))
            fcntl.flock(fds[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        if all(path.exists() for path in paths):
            return fds
    except (BlockingIOError, FileNotFoundError):
        pass
    for fd in fds:
        os.close(fd)
    return None


def _settle(paths: list[Path], fds: list[int]) -> int:
    """End the chain. If the last segment has its end and yet misses that of an attempt, because a record of it is
    damaged, the chain gets one segment more, which is added to `paths` and `fds`.
    """
    running: dict[bytes, tuple[Kind, bytes]] = {}
    previous = ""
    segment: SegmentWriter | None = None
    for path, fd in zip(paths, fds, strict=True):
        reader = SegmentReader(path)
        while records := reader.read(BLOCK_BYTES):
            for type_, attempt_id, kind, values in records:
                if type_ == INTENT:
                    running[attempt_id] = kind, values
                elif type_ == SETTLE:
                    running.pop(attempt_id, None)
        segment = reader.reopen(fd) if reader.closing is None else None
        if segment is not None and path != paths[-1]:
            previous = _close(segment, previous, last=False)
        elif reader.closing is not None:
            previous = reader.closing.digest
    if segment is None and running:
        writer, sequence = writer_and_sequence(paths[-1])
        segment = SegmentWriter.create(paths[-1].parent, writer, sequence + 1)
        paths.append(segment.path)
        fds.append(segment.fileno())
    if segment is not None:
        for attempt_id, (kind, values) in running.items():
            segment.event(SETTLE, attempt_id, kind, lost(values))
        _close(segment, previous, last=True)
    return len(running)


def _close(segment: SegmentWriter, previous: str, *, last: bool) -> str:
    digest = segment.close(previous, last=last)
    segment.sync()
    return digest
