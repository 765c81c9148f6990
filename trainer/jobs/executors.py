"""Where a job's child process runs: on this machine, or wherever another executor puts it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from registry.children.environment import without_settings
from registry.children.with_parent import die_with_parent
from registry.children.yielding import yield_processors
from trainer.jobs.folder import JobFolder
from trainer.jobs.lines import MAX_LINE_BYTES
from trainer.jobs.memory import oom_kills

ENDED_FIRST = b"1000"
"""The `oom_score_adj` of what the kernel ends first when memory is short: not an engine or a gateway."""
MOST_LINES_WAITING = 1_000
"""Lines that a child may be ahead of its worker; then it waits."""
LOST, NO_PLACE = 1_000, 1_001
"""Statuses of a child that was lost with the machine it ran on, and of one for which there was no machine. They are
beyond those of processes.
"""
CHILD = ("trainer.jobs.child",)


class Running(Protocol):
    """A child that has been started."""

    def next_line(self, timeout_s: float) -> str | None:
        """The next line that it says; `None` when none comes in time."""

    @property
    def status(self) -> int | None:
        """Its exit status, when it has ended and every line has been read; below 0: the signal that ended it; `LOST`,
        `NO_PLACE`.
        """

    @property
    def out_of_memory(self) -> bool | None:
        """Of one that has ended by SIGKILL: whether the kernel did it for want of memory; `None`: nobody knows."""

    def stop(self) -> None:
        """Tell it to stop, with a checkpoint if it is training."""

    def kill(self) -> None:
        """End it and all that it has started, now."""


class Executor(Protocol):
    """Starts children."""

    def start(self, folder: JobFolder) -> Running:
        """A child that works in a folder. Raises OSError."""

    def prepare(self) -> None:
        """There will soon be something to start: what takes long may be done now. Raises OSError."""

    def dismiss(self) -> None:
        """There will be nothing to start soon: keep nothing for it."""


class LocalExecutor:
    """Children on this machine, in process groups of their own, at low priority, with their share of the processors."""

    def __init__(self, threads: int, niceness: int, program: tuple[str, ...] = CHILD) -> None:
        """`program` is the module to run, and what it is told before the folder."""
        self._program = program
        self._threads = threads
        self._niceness = niceness
        self._spare: LocalChild | None = None
        """One that has imported its libraries, and waits to be told its folder."""

    def start(self, folder: JobFolder) -> Running:
        """Call it from a thread that stays as long as the child: the kernel ends a child whose starter is gone."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.begin(folder.path):
            return spare
        with folder.log.open("ab") as log:
            return self._child([str(folder.path)], log.fileno())

    def prepare(self) -> None:
        """Have a child that waits; from the thread that will start it."""
        if self._spare is None:
            self._spare = self._child([], subprocess.DEVNULL)

    def dismiss(self) -> None:
        """End the child that waits."""
        if self._spare is not None:
            self._spare.discard()
            self._spare = None

    def _child(self, arguments: list[str], log: int) -> LocalChild:
        process = subprocess.Popen(
            [sys.executable, "-m", *self._program, *arguments],
            env=environment(self._threads),
            stdin=subprocess.DEVNULL if arguments else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            preexec_fn=_before_exec(),
        )
        yield_processors(self._niceness, process.pid)
        return LocalChild(process)


def environment(threads: int) -> dict[str, str]:
    """Of a child. Nothing is fetched from a hub: what is trained on lies here. Our own settings stay behind, for there
    are secrets among them and a child needs none.
    """
    return {
        **without_settings(),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }


class LocalChild:
    """A process on this machine."""

    def __init__(self, process: subprocess.Popen[bytes], kills: Callable[[], int | None] = oom_kills) -> None:
        """`kills` counts what the kernel has ended for want of memory."""
        self._process = process
        self._kills, self._killed_before = kills, kills()
        self._killed_since: int | None = None
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_LINES_WAITING)
        self._read_all = False
        threading.Thread(target=self._read, name=f"child {process.pid}", daemon=True).start()

    def begin(self, folder: Path) -> bool:
        """Tell one that waits its folder; false when it is gone."""
        assert self._process.stdin is not None
        try:
            with self._process.stdin as told:
                told.write(f"{folder}\n".encode())
        except OSError:
            return False
        return True

    @property
    def status(self) -> int | None:
        """As `Running` says."""
        return self._process.wait() if self._read_all else None

    @property
    def out_of_memory(self) -> bool | None:
        """As `Running` says: the kernel has ended something of ours since this one began."""
        before, since = self._killed_before, self._killed_since
        return None if before is None or since is None else since > before

    def next_line(self, timeout_s: float) -> str | None:
        """As `Running` says."""
        if self._read_all:
            return None
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._read_all = line is None
        return line

    def stop(self) -> None:
        """SIGTERM, to the child alone."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL, to its group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def discard(self) -> None:
        """End one that waits, and wait until it is gone."""
        self.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as out:
            while line := out.readline(MAX_LINE_BYTES):
                self._lines.put(line.decode("utf-8", "replace"))
        self._killed_since = self._kills()
        self._lines.put(None)
        self._process.wait()  # whoever has killed it need not ask how it ended


def _before_exec() -> Callable[[], None]:
    """What a child does first: the kernel ends it with its worker, even one that is killed."""
    dies_with_it = die_with_parent(signal.SIGKILL)

    def before_exec() -> None:
        if dies_with_it is not None:
            _end_first()
            dies_with_it()

    return before_exec


def _end_first() -> None:
    with suppress(OSError):
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(file, ENDED_FIRST)
        os.close(file)
