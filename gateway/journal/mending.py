"""A segment that somebody removed, moved away or cut short while it was written to: noticed, and put right again.

What is overwritten in place, with as many bytes or more, is not noticed here: its checksums tell who reads it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.journal.records import HEADER, KIND, Damaged, Record, decode

COPY_BYTES = 1 << 20
LONGEST_TORN = 4096
"""Bytes in which a whole record is looked for behind the rest of one that was cut off: records are far shorter."""


def identity(found: os.stat_result) -> tuple[int, int]:
    """What tells a file from every other: device and inode."""
    return found.st_dev, found.st_ino


def is_gone(path: Path, file: tuple[int, int], size: int) -> bool:
    """Whether another file than this, none, or a shorter one than `size` bytes lies there. Two microseconds."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return identity(found) != file or found.st_size < size


def restored(path: Path, fd: int) -> int:
    """A locked descriptor of a new file at `path`, with the bytes of an open one that nobody finds any more.

    Its folder is made again. Raises `OSError`, and leaves nothing behind then.
    """
    return write_anew(path, _blocks(fd))


def write_anew(path: Path, blocks: Iterable[bytes]) -> int:
    """A locked descriptor of a new file at `path`, with these bytes, on disk; what lay there is replaced at once.

    Its folder is made. Raises `OSError`, and leaves nothing behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unnamed = path.with_suffix(".new")
    again = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        fcntl.flock(again, fcntl.LOCK_EX)
        for data in blocks:
            if os.write(again, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(again)
        unnamed.rename(path)
    except OSError:
        os.close(again)
        unnamed.unlink(missing_ok=True)
        raise
    return again


def _blocks(fd: int) -> Iterable[bytes]:
    at = 0
    while data := os.pread(fd, COPY_BYTES, at):
        at += len(data)
        yield data


def salvaged(fd: int, kept: Mapping[int, bytes], records: int) -> dict[int, bytes]:
    """Number → line of all that is left of a segment that had `records` lines: what its file still has, and `kept`,
    which is what its writer knows by heart.
    """
    lines = dict(kept)
    for line in b"".join(_blocks(fd)).split(b"\n")[:-1]:
        found = _record_in(line)
        if found is not None and found[0].number < records and found[0].type not in (HEADER, KIND):
            lines[found[0].number] = found[1] + b"\n"
    return dict(sorted(lines.items()))


def _record_in(line: bytes) -> tuple[Record, bytes] | None:
    """A record and its line; also one that was written behind the beginning of another."""
    try:
        return decode(line), line
    except Damaged:
        pass
    for start in range(max(1, len(line) - LONGEST_TORN), len(line)):
        try:
            return decode(line[start:]), line[start:]
        except Damaged:
            continue
    return None
