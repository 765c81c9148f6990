"""A job on a node: its folder there, and its child. An actor in a cluster, and a plain object without one."""

from __future__ import annotations

import os
import queue
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Literal

from trainer.folders import end_of, own_folder
from trainer.jobs.executors import LocalExecutor, Running
from trainer.jobs.folder import Assignment, JobFolder
from trainer.jobs.on_ray.bases import NodeBases
from trainer.jobs.on_ray.carrying import below, files_below, read_piece, write_piece
from trainer.jobs.on_ray.placing import Placing

LOG_BYTES = 1 << 20
"""Of the child's log, that are handed to the worker."""
MOST_LINES = 200
"""In one answer."""
Where = Literal["job", "base"]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the child has said since the last question, and how it ended, if it has and there is no more."""

    lines: tuple[str, ...]
    status: int | None
    out_of_memory: bool | None


class RemoteJob:
    """Everything but `begin` and `lines` may be called from several threads at once."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing
        self._own = ExitStack()
        root = Path(placing.folder).expanduser()
        folder = self._own.enter_context(own_folder(root / "jobs", f"{os.getpid()}-{token_hex(4)}"))
        self._bases = NodeBases(root / "bases")
        self._folder = JobFolder(folder / "job")
        self._folder.make()
        self._incoming: Path | None = None
        self._base_name = ""
        self._running: Running | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._calls, self._heard_s = 0, time.monotonic()
        threading.Thread(target=self._watch, name="patience", daemon=True).start()

    def find_base(self, digest: str, elsewhere: str) -> str | None:
        """The folder of that base here; `None`: it has to be written first."""
        with self._heard():
            found = self._bases.find(digest, Path(elsewhere))
            if found is None:
                self._incoming, self._base_name = self._bases.incoming(), Path(elsewhere).name
            return None if found is None else str(found)

    def write(self, where: Where, name: str, offset: int, data: bytes) -> None:
        """A piece of a file of the job or of the base."""
        with self._heard():
            write_piece(below(self._root(where), name), offset, data)

    def keep_base(self, digest: str) -> str:
        """All of it was written: its folder. Raises BaseModelError when it is another one."""
        with self._heard():
            assert self._incoming is not None
            return str(self._bases.keep(digest, self._incoming, self._base_name))

    def begin(self, base_folder: str) -> None:
        """Start the child. Raises OSError."""
        with self._heard():
            replace(Assignment.read(self._folder.path), base_folder=base_folder).write(self._folder.path)
            started: queue.Queue[Running | OSError] = queue.Queue()
            threading.Thread(target=self._start, args=(started,), name="starter", daemon=True).start()
            found = started.get()
            if isinstance(found, OSError):
                raise found
            self._running = found

    def lines(self, timeout_s: float) -> Heard:
        """What it says next; after so many seconds an answer comes without any."""
        with self._heard():
            running = self._begun()
            found: list[str] = []
            line = running.next_line(timeout_s)
            while line is not None:
                found.append(line)
                line = running.next_line(0) if len(found) < MOST_LINES else None
            return Heard(tuple(found), running.status, running.out_of_memory)

    def files(self, name: str) -> list[tuple[str, int]]:
        """The file of that name, or all files below that folder, with their sizes; none if there is none."""
        with self._heard():
            found = below(self._folder.path, name)
            if found.is_file():
                return [(name, found.stat().st_size)]
            listed = files_below(found) if found.is_dir() else iter(())
            return [(f"{name}/{one}", file.stat().st_size) for one, file in listed]

    def read(self, name: str, offset: int) -> bytes:
        """A piece of a file of the job."""
        with self._heard():
            return read_piece(below(self._folder.path, name), offset)

    def log(self) -> str:
        """The end of what the child has written on its standard error."""
        with self._heard():
            return end_of(self._folder.log, LOG_BYTES)

    def remove(self, name: str) -> None:
        """A folder of the job."""
        with self._heard():
            shutil.rmtree(below(self._folder.path, name), ignore_errors=True)

    def stop(self) -> None:
        """SIGTERM to the child."""
        with self._heard():
            self._begun().stop()

    def leave(self) -> None:
        """End the child if it is there yet, and let nothing of the job lie here."""
        if self._running is not None:
            self._running.kill()
        self._ended.set()
        if self._incoming is not None:
            shutil.rmtree(self._incoming, ignore_errors=True)
        self._bases.close()
        self._own.close()

    def _root(self, where: Where) -> Path:
        if where == "job":
            return self._folder.path
        assert self._incoming is not None
        return self._incoming / self._base_name

    def _begun(self) -> Running:
        assert self._running is not None
        return self._running

    def _start(self, started: queue.Queue[Running | OSError]) -> None:
        """In a thread that stays as long as the child: the kernel ends a child whose starter is gone."""
        executor = LocalExecutor(self._placing.threads, self._placing.niceness, self._placing.program)
        try:
            started.put(executor.start(self._folder))
        except OSError as error:
            started.put(error)
        self._ended.wait()

    @contextmanager
    def _heard(self) -> Iterator[None]:
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls, self._heard_s = self._calls - 1, time.monotonic()

    def _watch(self) -> None:
        """A bridge that is gone has another worker take the job: what is done here would be in vain."""
        while not self._ended.wait(min(1.0, self._placing.patience_s / 4)):
            if not self._calls and time.monotonic() - self._heard_s > self._placing.patience_s:
                self.leave()
                os._exit(1)
