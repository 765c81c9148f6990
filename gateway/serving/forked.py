"""Children that are copies of this process: what it has imported they need not import, and they share its memory.

A copy has one thread, the one that forks: who forks must have no other, so no event loop, no pool, no object storage
that was asked. Its connections to a database are closed before, or two processes speak on each.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from subprocess import TimeoutExpired
from typing import NoReturn

from gateway.serving.children import STOP_SIGNALS
from registry.children.with_parent import die_with_parent

PR_SET_NAME = 15
POLL_S = 0.02


class Forked:
    """A child of this process, to be waited for by it alone. `returncode` is as that of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The status it has ended with, or `None`."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """The status it ends with. Raises `TimeoutExpired`."""
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        while (status := self.poll()) is None:
            if ends is not None and time.monotonic() >= ends:
                raise TimeoutExpired(f"process {self.pid}", timeout_s or 0.0)
            time.sleep(POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Unless it has ended: its number may be another's by then."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def fork(name: str, work: Callable[[], object], keeps: Sequence[int]) -> Forked:
    """Have a copy of this process do that and end; it is called so, in a session of its own, dies with this one, and
    has of its files those of these numbers and what it writes its log to. Call it from the only thread there is.
    """
    assert threading.active_count() == 1, threading.enumerate()
    sys.stdout.flush()
    sys.stderr.flush()
    before_work = die_with_parent()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # no handler of ours runs in the copy
    pid = os.fork()
    if pid == 0:
        _be(name, work, keeps, before_work, before)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(pid)


def _be(
    name: str,
    work: Callable[[], object],
    keeps: Sequence[int],
    before_work: Callable[[], None] | None,
    signals: set[signal.Signals] | set[int],
) -> NoReturn:
    """What called `fork` must not go on here: nothing is returned to it, and nothing is raised."""
    status = 1
    try:
        os.setsid()
        if before_work is not None:
            before_work()
            ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
        _keep(keeps)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _keep(numbers: Sequence[int]) -> None:
    """Close all files but these and the three of the log; objects that have closed ones are never asked again."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    first = 3
    for number in (*sorted(numbers), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, number)
        first = number + 1
