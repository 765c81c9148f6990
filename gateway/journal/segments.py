"""Segments: the files of the usage journal, `usage-WRITER-SEQUENCE.log`.

A writer is one life of one worker. A segment begins with a header and ends with a closing record: how many records it
has, and a running digest of their checksums, chained to the segment before. One without a closing record is being
written to, or its writer was killed; the last line of such a one may be torn. Every segment declares the kinds that its
records name, so that it can be read alone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import orjson

from gateway.journal.mending import identity, is_gone, restored, salvaged, write_anew
from gateway.journal.records import (
    CLOSE,
    CRC_DIGITS,
    EVENTS,
    HEADER,
    INTENT,
    KIND,
    SETTLE,
    Damaged,
    Record,
    decode,
    encode,
)
from gateway.journal.rows import Kind

FORMAT = 2
PATTERN = "usage-*.log"
NAME = re.compile(r"usage-.+-[0-9]+\.log")
DAMAGED = "damaged-"
"""Prefix of a segment that was shipped as far as it could be read, and is kept for people to look at."""
DIGEST_BYTES = 16
Event = tuple[bytes, bytes, Kind, bytes]
"""`INTENT` or `SETTLE`, the attempt's id, and its kind and values (`gateway.journal.rows`)."""

write_at_once: Callable[[int, bytes, int], int] = ctypes.PyDLL(None, use_errno=True).write
"""`write(2)`, but it keeps the interpreter meanwhile: the page cache takes a line in a microsecond, and who gives the
interpreter up may wait for 5 ms until another thread gives it back."""
write_at_once.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)  # type: ignore[attr-defined]
write_at_once.restype = ctypes.c_ssize_t  # type: ignore[attr-defined]


def segment_path(folder: Path, writer: str, sequence: int) -> Path:
    """Where a segment lies."""
    return folder / f"usage-{writer}-{sequence:06d}.log"


def segments_in(folder: Path, prefix: str = "") -> list[Path]:
    """By writer, the oldest first; `prefix` is `DAMAGED` for those. Files of other names are nobody's business."""
    named = (path for path in folder.glob(prefix + PATTERN) if NAME.fullmatch(path.name.removeprefix(prefix)))
    return sorted(named, key=writer_and_sequence)


def writer_and_sequence(path: Path) -> tuple[str, int]:
    """Whose segment it is, and its number among that writer's."""
    writer, _, sequence = path.stem.removeprefix(DAMAGED).removeprefix("usage-").rpartition("-")
    return writer, int(sequence)


@dataclass(frozen=True, slots=True)
class Closing:
    """What a closing record says of its segment."""

    records: int
    """Lines before this one, with the header."""
    intents: int
    settles: int
    digest: str
    previous: str
    """Digest of the writer's segment before this one; empty in its first."""
    last: bool
    """Whether the writer has no later one."""


class SegmentWriter:
    """An open segment, locked for as long as it is. Not thread-safe."""

    def __init__(
        self,
        path: Path,
        fd: int,
        digest: Any,
        *,
        records: int = 0,
        intents: int = 0,
        size: int = 0,
        kinds: Iterable[bytes] = (),
    ) -> None:
        self.path, self.size = path, size
        self.closing: Closing | None = None
        self._fd = fd
        self._file = identity(os.fstat(fd))
        self._records, self._intents = records, intents
        self._kinds = set(kinds)
        """Names of those that are declared."""
        self._by_heart: dict[int, bytes] = {}
        """Number → line of what every other record is read by, should the file be cut short: header and kinds."""
        self.lost = 0
        """Records that were in the file when somebody cut it short."""
        self._digest = digest
        self._checksums = bytearray()
        """What the digest has still to take in: that is left to the shipper's thread."""

    @classmethod
    def create(cls, folder: Path, writer: str, sequence: int) -> Self:
        """A new segment with its header. It gets its name when it is locked: until then nobody can take it for a dead
        worker's. Raises `OSError`.
        """
        path = segment_path(folder, writer, sequence)
        unnamed = path.with_suffix(".new")
        fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            made = cls(path, fd, blake2b(digest_size=DIGEST_BYTES))
            header = orjson.dumps({"format": FORMAT, "sequence": sequence})
            made._append_by_heart(encode(0, HEADER, writer.encode(), header))
            unnamed.rename(path)
        except OSError:
            os.close(fd)
            unnamed.unlink(missing_ok=True)
            raise
        return made

    @property
    def running(self) -> int:
        """Intents less settle records."""
        return self._intents - self._settles

    @property
    def _settles(self) -> int:
        return max(0, self._records - 1 - len(self._kinds) - self._intents)  # one that was emptied has no header

    def event(self, type_: bytes, attempt_id: bytes, kind: Kind, values: bytes) -> None:
        """An attempt begins (`INTENT`), or has ended (`SETTLE`). Both are on every request's way: this calls little.

        Raises `OSError` when the disk has no room, and leaves no half line.
        """
        name = kind.name
        if name not in self._kinds:
            self._append_by_heart(encode(self._records, KIND, name, kind.fields))
            self._kinds.add(name)
        body = b"%d %b %b %b %b" % (self._records, type_, attempt_id, name, values)
        self._append(b"%08x %b\n" % (zlib.crc32(body), body))
        if type_ is INTENT:
            self._intents += 1

    def _append_by_heart(self, line: bytes) -> None:
        number = self._records
        self._append(line)
        self._by_heart[number] = line

    def _append(self, line: bytes) -> None:
        length = len(line)
        written = write_at_once(self._fd, line, length)
        if written != length:
            number = ctypes.get_errno() if written < 0 else errno.ENOSPC
            if written > 0:  # counted from the end that is there: somebody may have cut the file short
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            raise OSError(number, os.strerror(number))
        self.size += length
        self._records += 1
        self._checksums += line[:CRC_DIGITS]

    def close(self, previous: str, *, last: bool) -> str:
        """Append the closing record, which nothing may come after; its digest. Raises `OSError`."""
        self._digest.update(self._checksums)
        self._checksums.clear()
        closing = Closing(self._records, self._intents, self._settles, self._digest.hexdigest(), previous, last)
        self._append_by_heart(encode(self._records, CLOSE, b"-", orjson.dumps(closing)))
        self.closing = closing
        return closing.digest

    def sync(self) -> None:
        """fsync: for a thread, never for the event loop."""
        os.fsync(self._fd)

    def is_gone(self) -> bool:
        """Whether the file, or its folder, was removed, moved away or cut short: what is written to it then is lost to
        others.
        """
        return is_gone(self.path, self._file, self.size)

    def restore(self) -> None:
        """Have the file again where it was, with all that it had; if it was cut short, with all that is left, and
        `lost` says how much is not. Raises `OSError`, and then nothing has changed.
        """
        if os.fstat(self._fd).st_size >= self.size:
            fd = restored(self.path, self._fd)
        else:
            left = salvaged(self._fd, self._by_heart, self._records)
            fd = write_anew(self.path, left.values())
            self.size, self.lost = sum(map(len, left.values())), self._records - len(left)
        os.close(self._fd)
        self._fd, self._file = fd, identity(os.fstat(fd))

    def fileno(self) -> int:
        """The descriptor that holds the lock."""
        return self._fd

    def release(self) -> None:
        """Give the lock up."""
        os.close(self._fd)


@dataclass(slots=True)
class SegmentReader:
    """Reads a segment as it grows, and says what is wrong with it."""

    path: Path
    offset: int = 0
    records: int = 0
    intents: int = 0
    settles: int = 0
    closing: Closing | None = None
    faults: list[str] = field(default_factory=list)
    """Each with its line; a torn last line is none."""
    _kinds: dict[bytes, Kind] = field(default_factory=dict)
    _digest: Any = field(default_factory=lambda: blake2b(digest_size=DIGEST_BYTES))

    def read(self, limit: int) -> list[Event]:
        """Intents and settle records of the next whole lines, about `limit` bytes of them; empty at the end.

        A line that cannot be read is a fault and is passed over. Raises `OSError`.
        """
        found: list[Event] = []
        while not found:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read(limit)
                if data and b"\n" not in data:
                    data += file.readline()
            data = data[: data.rfind(b"\n") + 1]
            if not data:
                break
            self.offset += len(data)
            self._take_all(data[:-1].split(b"\n"), found)
        return found

    def _take_all(self, lines: list[bytes], found: list[Event]) -> None:
        """Lines that are as they should be cost a third of what `_take` does, and a recovery may have millions."""
        crc32, digest, kinds, at = zlib.crc32, self._digest, self._kinds, self.records
        for line in lines:
            checksum, body = line[:CRC_DIGITS], line[CRC_DIGITS + 1 :]
            parts = body.split(b" ", 4)
            if (
                at == 0
                or self.closing is not None
                or len(parts) < 5
                or parts[1] not in EVENTS
                or parts[3] not in kinds
                or parts[0] != b"%d" % at
                or b"%08x" % crc32(body) != checksum
            ):
                self.records = at
                self._take(line, found)
                at = self.records
                continue
            at += 1
            digest.update(checksum)
            if parts[1] == INTENT:
                self.intents += 1
            else:
                self.settles += 1
            found.append((parts[1], parts[2], kinds[parts[3]], parts[4]))
        self.records = at

    def _take(self, line: bytes, found: list[Event]) -> None:
        try:
            record = decode(line)
        except Damaged as damage:
            self.faults.append(f"record {self.records}: {damage}")
            self._digest.update(line[:CRC_DIGITS])
            self.records += 1
            return
        if record.number != self.records:
            self.faults.append(_gap(self.records, record.number))
        if self.closing is not None:
            self.faults.append(f"record {record.number} comes after the closing record")
        if record.type == CLOSE and record.number == 0:
            self.faults.append("it was empty: all that it had is gone")
        if record.type == CLOSE:
            self._compare(Closing(**orjson.loads(record.rest)))
        elif (record.type == HEADER) != (record.number == 0):
            what = "a second header" if record.type == HEADER else "no header"
            self.faults.append(f"record {record.number}: {what}")
        elif record.type == HEADER and (said := orjson.loads(record.rest)["format"]) != FORMAT:
            self.faults.append(f"its format is {said}, and this version reads {FORMAT}; ship it with the one it is of")
        self._digest.update(line[:CRC_DIGITS])
        self.records = record.number + 1
        if record.type == KIND:
            self._kinds[record.name] = Kind(record.name, record.rest)
        elif record.type in EVENTS:
            self._take_event(record, found)

    def _take_event(self, record: Record, found: list[Event]) -> None:
        self.intents += record.type == INTENT
        self.settles += record.type == SETTLE
        name, _, values = record.rest.partition(b" ")
        kind = self._kinds.get(name)
        if kind is None:
            self.faults.append(
                f"record {record.number} is of the kind {name.decode()}, which no record before declares"
            )
        else:
            found.append((record.type, record.name, kind, values))

    def _compare(self, closing: Closing) -> None:
        self.closing = closing
        if self.faults:  # then the counts differ because of them
            return
        found = (self.records, self.intents, self.settles)
        for what, said, is_so in zip(
            ("records", "intents", "settle records"),
            (closing.records, closing.intents, closing.settles),
            found,
            strict=True,
        ):
            if said != is_so:
                self.faults.append(f"the closing record counts {said} {what}, there are {is_so}")
        if not self.faults and closing.digest != self._digest.hexdigest():
            self.faults.append("its records are not those that the closing record's digest was made of")

    def reopen(self, fd: int) -> SegmentWriter:
        """Go on writing where reading ended; `fd` is locked. What is left of a torn line is cut off."""
        os.ftruncate(fd, self.offset)
        return SegmentWriter(
            self.path,
            fd,
            self._digest.copy(),
            records=self.records,
            intents=self.intents,
            size=self.offset,
            kinds=self._kinds,
        )


def _gap(expected: int, found: int) -> str:
    if found < expected:
        return f"record {found} comes after record {expected - 1}"
    missing = f"record {expected} is" if found == expected + 1 else f"records {expected} to {found - 1} are"
    return f"{missing} missing"
