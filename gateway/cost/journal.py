"""The usage journal: an append-only file per worker, and the thread that ships it to SQL.

A record is one JSON line in one `write()`: it survives kill -9 the moment the call returns. The shipper groups fsyncs
and SQL inserts, once a second, off the event loop. Rows are keyed by attempt id, so shipping twice is harmless.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from pathlib import Path
from typing import Any

import orjson

from registry.errors import RegistryError
from registry.ledger import Ledger

log = logging.getLogger("switchyard.journal")
INTENT, SETTLE = "intent", "settle"
ROTATE_BYTES = 16 * 1024 * 1024


class Journal:
    """The file of one worker. `intent` and `settle` are called on the event loop and only append."""

    def __init__(self, folder: Path, worker_id: str, *, rotate_bytes: int = ROTATE_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._rotate_bytes = rotate_bytes
        self._worker_id = worker_id
        self._sequence = 0
        self._lock = threading.Lock()
        self._full: dict[Path, int] = {}
        """Files that are not written to any more. They stay locked until the shipper is done with them."""
        self._open()

    def _open(self) -> None:
        """Begin a file that nobody has written: a worker that died may have had our id, and its intents are lost."""
        while True:
            self._sequence += 1
            self.path = self.folder / f"usage-{self._worker_id}-{self._sequence:06d}.jsonl"
            try:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
                break
            except FileExistsError:
                continue
        fcntl.flock(self._fd, fcntl.LOCK_EX)  # tells shippers of other workers that the file is ours
        self._written = 0

    def intent(self, row: dict[str, Any]) -> None:
        """An attempt begins; should nothing else come, it is `lost`. Raises `OSError` when it cannot be recorded."""
        self._append(INTENT, row)

    def settle(self, row: dict[str, Any]) -> None:
        """An attempt ended; the row is complete. Raises `OSError` when it cannot be recorded."""
        self._append(SETTLE, row)

    def _append(self, kind: str, row: dict[str, Any]) -> None:
        line = orjson.dumps([kind, row]) + b"\n"
        with self._lock:
            written = os.write(self._fd, line)
            if written != len(line):  # the disk is full: half a line would spoil the next one
                os.ftruncate(self._fd, self._written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._written += written

    def sync_and_rotate(self) -> Path:
        """fsync; start a new file when this one is long. Returns the file that is written to now."""
        os.fsync(self._fd)
        with self._lock:
            if self._written > self._rotate_bytes:
                self._full[self.path] = self._fd
                self._open()
            return self.path

    def full_files(self) -> list[Path]:
        """Files of this worker before the current one."""
        return list(self._full)

    def remove(self, path: Path) -> None:
        """Delete a full file whose every attempt is in the ledger."""
        path.unlink()
        os.close(self._full.pop(path))

    def close(self) -> None:
        """Sync and close; the lock goes with it."""
        os.fsync(self._fd)
        for fd in (self._fd, *self._full.values()):
            os.close(fd)


class Shipper:
    """Moves journal lines to the ledger: this worker's as they come, those of dead workers at once."""

    def __init__(self, journal: Journal, ledger: Ledger, *, interval_s: float = 1.0) -> None:
        self._journal = journal
        self._ledger = ledger
        self._interval_s = interval_s
        self._offsets: dict[Path, int] = {}
        self._intents: dict[str, tuple[Path, dict[str, Any]]] = {}
        """Attempts without a settle record so far, by id, with the file that the intent is in."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage-shipper", daemon=True)

    def start(self) -> None:
        """Begin shipping."""
        self._thread.start()

    def stop(self) -> None:
        """Ship what is left and end; call it before the journal is closed."""
        self._stop.set()
        self._thread.join()
        self._ship_quietly()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._ship_quietly()

    def _ship_quietly(self) -> None:
        try:
            self.ship()
        except (RegistryError, OSError) as error:
            log.warning("usage stays in the journal for now: %s", error)
        except Exception:
            log.exception("usage stays in the journal for now")

    def ship(self) -> None:
        """One round over all journal files."""
        current = self._journal.sync_and_rotate()
        full = self._journal.full_files()
        ours = {current, *full}
        others = sorted(set(self._journal.folder.glob("usage-*.jsonl")) - ours)
        abandoned = [path for path in others if _is_abandoned(path)]
        for path in [*abandoned, *full, current]:  # all of them first: an attempt may settle in a later file
            self._ship_new_lines(path)
        for path in abandoned:
            lost = [row for origin, row in self._intents.values() if origin == path]
            self._ledger.record(lost)
            self._forget(path, lost)
            path.unlink()
        awaited = {origin for origin, _ in self._intents.values()}
        for path in full:
            if path not in awaited:
                self._forget(path, [])
                self._journal.remove(path)

    def _forget(self, path: Path, rows: list[dict[str, Any]]) -> None:
        self._offsets.pop(path, None)
        for row in rows:
            del self._intents[row["attempt_id"]]

    def _ship_new_lines(self, path: Path) -> None:
        """Offsets and intents move on only after the ledger has the rows, so a failed round is simply done again."""
        offset = self._offsets.get(path, 0)
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # a torn last line of a crash is no record
        records = [record for line in whole.splitlines() if (record := _parse(line, path)) is not None]
        settled = [row for kind, row in records if kind == SETTLE]
        self._ledger.record(settled)
        self._offsets[path] = offset + len(whole)
        self._intents |= {row["attempt_id"]: (path, row) for kind, row in records if kind == INTENT}
        for row in settled:
            self._intents.pop(row["attempt_id"], None)


def _parse(line: bytes, path: Path) -> tuple[str, dict[str, Any]] | None:
    """A record; a line that is none is reported and passed over, so that it does not hold up all others."""
    try:
        kind, row = orjson.loads(line)
        return kind, {**row, "attempt_id": row["attempt_id"]}
    except (ValueError, TypeError, KeyError):
        log.error("passed over a line of %s that cannot be read: %r", path.name, line[:300])
        return None


def _is_abandoned(path: Path) -> bool:
    """Whether no live worker writes to the file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
