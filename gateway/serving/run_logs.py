"""What a child has written: a file for each run, a bounded number of them, none longer than it may be.

`engine.log` is the newest, `engine.1.log` the one before it. Children append to a file that they have inherited, so
they never wait for whoever reads it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

KEPT = 5
"""Older files beside the newest one."""
MAX_BYTES = 16 * 1024 * 1024
READ_BYTES = 256 * 1024
"""So much of the end is read to find a reason in it."""


class RunLog:
    """One child's files. `max_bytes` each, `kept` old ones."""

    def __init__(self, path: Path, *, kept: int = KEPT, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._kept = kept
        self._max_bytes = max_bytes
        self._mark = 0

    def begin_run(self) -> None:
        """Keep what the run before has written, and begin a new file."""
        if self._size():
            self._age()
            self.path.rename(self._older(1))

    def mark(self, line: str) -> None:
        """Write a line of ours; `text` is what comes after it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, f"{line}\n".encode())
        finally:
            os.close(handle)
        self._mark = self._size()

    def text(self) -> str:
        """What was written since the mark, or the end of it."""
        size = self._size()
        if not size:
            return ""
        with self.path.open("rb") as file:
            file.seek(max(min(self._mark, size), size - READ_BYTES))
            return file.read().decode(errors="replace")

    def trim(self) -> None:
        """Begin a new file when this one is full. The writer goes on with the file that it has, so it is copied."""
        if self._size() <= self._max_bytes:
            return
        self._age()
        with self.path.open("rb") as full, self._older(1).open("wb") as old:
            os.fchmod(old.fileno(), 0o600)
            shutil.copyfileobj(full, old)  # to the end, wherever that is by now
            os.truncate(self.path, 0)
        self._mark = 0

    def _age(self) -> None:
        self._older(self._kept).unlink(missing_ok=True)
        for number in range(self._kept - 1, 0, -1):
            if self._older(number).exists():
                self._older(number).rename(self._older(number + 1))

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.{number}{self.path.suffix}")

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0
