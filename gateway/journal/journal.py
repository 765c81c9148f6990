"""The usage journal of one worker: an append-only chain of segments, written before a request begins and ends.

A record is one line in one `write()`: it survives kill -9 the moment the call returns. `gateway.journal.shipper` groups
fsyncs and moves records to SQL, off the event loop.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from gateway.journal.records import INTENT, SETTLE
from gateway.journal.rows import Kind
from gateway.journal.segments import SegmentWriter
from registry.storage.private import private_folder

log = logging.getLogger("switchyard.journal")
ROTATE_BYTES = 16 * 1024 * 1024
MAX_UNSHIPPED_BYTES = 256 * 1024 * 1024


LOOK_EVERY_S = 0.01
"""How often it is looked whether the segment still lies where others find it: to look costs two microseconds."""


class JournalGone(OSError):
    """The segment was removed or cut short, so that nobody would find or could read what is written to it."""


class JournalFull(OSError):
    """So much usage waits for the ledger that no new request may begin."""


class Journal:
    """The segments of one worker. `intent` and `settle` are called on the event loop and only append."""

    def __init__(
        self,
        folder: Path,
        worker_id: str,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        max_unshipped_bytes: int = MAX_UNSHIPPED_BYTES,
    ) -> None:
        """Raises `OSError` when the folder cannot be written to."""
        private_folder(folder)
        self.folder = folder
        self.writer = f"{worker_id}-{time.time_ns():x}"  # one process may open several
        self._rotate_bytes = rotate_bytes
        self._max_unshipped_bytes = max_unshipped_bytes
        self._lock = threading.Lock()
        self._sequence = 1
        self._current = SegmentWriter.create(folder, self.writer, self._sequence)
        self._full: list[SegmentWriter] = []
        """Segments that are not written to any more, oldest first, locked until the shipper is done with them."""
        self._previous = ""
        self._cut: list[Path] = []
        self._left_running = 0
        """Attempts that ran when their segment was full, less those that have ended in a later one."""
        self._written = 0
        """Bytes, without those of the current segment."""
        self._shipped = 0
        self._most = 0
        """Bytes of the current segment with which too much waits."""
        self._waiting: deque[tuple[bytes, Kind, bytes]] = deque()
        """Settle records that the disk had no room for; at most one for each attempt that had begun before."""
        self._look_s = 0.0
        """When to look next, on the clock of `time.monotonic`."""
        self._note(0, 0)

    @property
    def path(self) -> Path:
        """The segment that is written to now."""
        return self._current.path

    @property
    def unshipped_bytes(self) -> int:
        """Written and not in the ledger yet."""
        return self._written + self._current.size - self._shipped

    def intent(self, attempt_id: bytes, kind: Kind, values: bytes) -> None:
        """An attempt begins (`rows.begun`); should nothing else come, it is `lost`.

        Raises `OSError` when it cannot be recorded (`JournalFull`: when too much waits for the ledger already;
        `JournalGone`: when the segment was removed or cut short, until `tend` has put it right).
        """
        with self._lock:
            current = self._current
            if current.size > self._most:
                raise self._too_full()
            now_s = time.monotonic()
            if now_s >= self._look_s:
                if current.is_gone():
                    raise JournalGone(
                        errno.ENOENT,
                        f"{current.path} was removed or cut short; it is put right when that is possible",
                    )
                self._look_s = now_s + LOOK_EVERY_S
            if self._waiting:
                self._write_waiting()
            current.event(INTENT, attempt_id, kind, values)

    def settle(self, attempt_id: bytes, kind: Kind, values: bytes) -> None:
        """An attempt ended (`rows.ended`). It never fails: what the disk has no room for waits in memory."""
        with self._lock:
            try:
                if self._waiting:
                    self._write_waiting()
                self._current.event(SETTLE, attempt_id, kind, values)
            except OSError as error:
                self._waiting.append((attempt_id, kind, values))
                log.error("the end of attempt %s waits for room on the disk: %s", attempt_id.decode(), error)

    def _too_full(self) -> JournalFull:
        return JournalFull(
            errno.EDQUOT,
            f"journal_max_unshipped_bytes is {self._max_unshipped_bytes} and {self.unshipped_bytes} bytes wait for "
            "the ledger; bring the database back, or allow more",
        )

    def _write_waiting(self) -> None:
        while self._waiting:
            self._current.event(SETTLE, *self._waiting[0])
            self._waiting.popleft()

    def shipped(self, count: int) -> None:
        """So many bytes more are in the ledger."""
        with self._lock:
            self._note(0, count)

    def _note(self, written: int, shipped: int) -> None:
        """So much more is in segments other than the current one, and in the ledger."""
        self._written += written
        self._shipped += shipped
        self._most = self._max_unshipped_bytes + self._shipped - self._written

    def tend(self) -> list[Path]:
        """Restore what was removed or cut short, fsync, write what waited, begin a new segment when this one is long or
        has lost records.

        The value is every segment's path, oldest first.

        For the shipper's thread. A disk without room is no error here: the next round tries again.
        """
        with suppress(OSError):
            self._restore()
            with self._lock:
                self._write_waiting()
            self._current.sync()
            if self._current.size > self._rotate_bytes or self._current.lost:
                following = SegmentWriter.create(self.folder, self.writer, self._sequence + 1)
                with self._lock:
                    self._full.append(self._current)
                    self._left_running += self._current.running
                    self._note(self._current.size, 0)
                    self._current = following
                    self._sequence += 1
            for segment in self._full:
                if segment.closing is None:
                    before = segment.size
                    self._previous = segment.close(self._previous, last=False)
                    with self._lock:
                        self._note(segment.size - before, 0)
                    segment.sync()
        return [segment.path for segment in (*self._full, self._current)]

    def _restore(self) -> None:
        """Segments that were removed are written again whole, from the files that are still open; those that were cut
        short with what is left.
        """
        for segment in [*self._full, self._current]:
            with self._lock:  # a record that is being appended is in the file before it is in the count
                size, lost = segment.size, segment.lost
                if not segment.is_gone():
                    continue
                try:
                    segment.restore()
                except OSError as error:
                    log.error("%s was removed or cut short and cannot be put right now: %s", segment.path, error)
                    raise
                if segment is not self._current:
                    self._note(segment.size - size, 0)
                if segment.lost > lost:
                    self._cut.append(segment.path)
            self._log_restored(segment, segment.lost - lost)

    @staticmethod
    def _log_restored(segment: SegmentWriter, lost: int) -> None:
        if not lost:
            log.warning("%s was removed while it was in use; it was made again, with all of its records", segment.path)
            return
        log.error(
            "%s was cut short while it was in use: %d of its records are gone, and those of them that were not in the "
            "ledger yet are lost (written in the last second, while the ledger answers). What was left of it is kept, "
            "the next records go to another segment, and `switchyard ledger verify` names it",
            segment.path,
            lost,
        )

    def take_cut(self) -> list[Path]:
        """Segments that are not what they were since this was asked last: they must be read from the beginning."""
        found, self._cut = self._cut, []
        return found

    def forget_oldest(self) -> None:
        """The shipper has removed the oldest segment, which was full."""
        self._full.pop(0).release()

    def close(self) -> None:
        """Sync, end the chain, give the locks up. What runs still, or found no room, is `lost` to who comes next."""
        self.tend()
        if self._waiting:
            log.error(
                "these attempts ended and there was no room to say so: %s",
                [name.decode() for name, *_ in self._waiting],
            )
        elif self._left_running + self._current.running == 0 and all(segment.closing for segment in self._full):
            with suppress(OSError):
                self._current.close(self._previous, last=True)
                self._current.sync()
        for segment in (*self._full, self._current):
            segment.release()
