"""Processes that this one starts: they are stopped in order, and die with it whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from registry.children.with_parent import die_with_parent

STOP_TIMEOUT_S = 10.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Ctrl-C, SIGTERM or SIGHUP: `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopSignals:
    """Raises `Stopped` where the main thread is when a signal comes, except in what must be done whole."""

    def __init__(self) -> None:
        self._held = 0
        self._came = 0

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        if not self._held:
            raise Stopped(number)
        self._came = number

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes within the block is obeyed at its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._came and not self._held:
            number, self._came = self._came, 0
            raise Stopped(number)


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into `Stopped`, so that every `finally` runs."""
    signals = StopSignals()
    before = {number: signal.signal(number, signals.on_signal) for number in STOP_SIGNALS}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own (Ctrl-C reaches us, and we stop it in order), which appends to `log`.

    Call it from the main thread: the kernel's watch is on the thread that starts a child.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
    finally:
        os.close(output)


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """End it and whatever it started itself; what does not end in time, or while a second signal comes, is killed."""
    try:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def child(
    command: list[str], environment: Mapping[str, str], log: Path, *, grace_s: float = 0.0
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the time of a block. At its end it gets `grace_s` more than others to end."""
    process = start(command, environment, log)
    try:
        yield process
    finally:
        stop(process, STOP_TIMEOUT_S + grace_s)
