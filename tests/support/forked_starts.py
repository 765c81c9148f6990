"""Programs of ours that tests start are forked from a process that has imported them (`fork_server`).

Their imports take half a second to three of a processor each, and a run of all tests starts many hundreds. What is
forked is what `python -m PROGRAM …` is from its first line on. What that proves less is that a program imports what it
needs, and no more: a test of that, or of how a process begins, is marked `starts_anew`.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import pytest

from tests.support.fork_server import NUMBER_BYTES, PROGRAMS, ROOM_BYTES, Order

ROOT = Path(__file__).parents[2]
MARK = "starts_anew"
PR_SET_CHILD_SUBREAPER = 36
ROOM = "-" * ROOM_BYTES
PATH = "PYTHONPATH"
AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_", "OMP_", "OPENBLAS_", "MKL_", "HF_")
"""Begins the names of variables that an interpreter or a library reads when it starts: for each value of them there is
a process of its own. `PATH` is none of them."""
OURS = "SWITCHYARD_"
PLAIN = {"pass_fds": (), "shell": False, "restore_signals": True, "process_group": -1, "umask": -1} | dict.fromkeys(
    ("gid", "gids", "uid", "executable")
)
"""What a start asks for that can be forked."""
BEFORE = {
    None: (0, False),
    "registry.children.with_parent.die_with_parent": (signal.SIGTERM, False),
    "trainer.jobs.executors._before_exec": (signal.SIGKILL, True),
}
"""Whose functions a process can be told to call before it begins, and what a forked one does then: the signal by which
it dies with its parent, and whether it is the first to end when memory is short.
"""
MOST = 6
"""Processes that wait to be forked, of 25 to 110 MB each (what trains: 500): the one that was least recently asked ends
first.
"""
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


class ForkServer:
    """Of one program. It ends with this process."""

    def __init__(self, program: str, environment: Mapping[str, str]) -> None:
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(its.fileno()), f"for={program}", ROOM],
                env={name: value for name, value in environment.items() if name != PATH and not name.startswith(OURS)},
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                cwd=ROOT,
            )
        self._program, self._link = program, ours

    def start(self, order: Order, files: Sequence[int]) -> int:
        """The number of the new process, a child of this one. One thread at a time may call it."""
        line = order.encoded()
        take_orphans(True)
        try:
            socket.send_fds(self._link, [line[:NUMBER_BYTES]], files)
            self._link.sendall(line[NUMBER_BYTES:])
            pid = int.from_bytes(self._link.recv(NUMBER_BYTES), "little")
        finally:
            take_orphans(False)
        if not pid:
            raise RuntimeError(f"{self._program} was not forked; standard error has the reason")
        return pid

    def close(self) -> None:
        """End it; what it has forked goes on."""
        self._link.close()
        self._process.kill()
        self._process.wait()


def take_orphans(whether: bool) -> None:
    """What children of this process have started becomes its own child when they end."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, int(whether), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system gives no process its children's children")


class ForkServers:
    """By program and by what it reads when it starts."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, frozenset[tuple[str, str]]], ForkServer] = {}
        self._lock = threading.Lock()
        self.rest = True
        """Whether all is started anew."""

    def start(self, program: str, order: Order, files: Sequence[int]) -> int:
        """The number of a new process."""
        at_start = {name: value for name, value in order.environment.items() if name.startswith(AT_START)}
        at_start.pop(PATH, None)
        key = (program, frozenset(at_start.items()))
        with self._lock:
            server = self._servers.pop(key, None) or ForkServer(program, order.environment)
            try:
                pid = server.start(order, files)
            except BaseException:  # half way: its next answer would be that of this order
                server.close()
                raise
            self._servers[key] = server
            if len(self._servers) > MOST:
                self._servers.pop(next(iter(self._servers))).close()
            return pid

    def close(self) -> None:
        """End all."""
        with self._lock:
            for server in self._servers.values():
                server.close()
            self._servers.clear()


SERVERS = ForkServers()


class Started(subprocess.Popen[Any]):
    """A process, forked where it can be."""

    def _execute_child(self, *given: Any) -> None:
        anew = super()._execute_child  # type: ignore[misc]
        wanted = inspect.signature(anew).bind(*given).arguments
        found = None if SERVERS.rest else ordered(wanted)
        if found is None:
            anew(*given)
            return
        standard = enumerate(wanted[name] for name in ("p2cread", "c2pwrite", "errwrite"))
        try:
            self.pid = SERVERS.start(*found, [number if file == -1 else file for number, file in standard])
            self._child_created = True
        finally:
            self._close_pipe_fds(*(wanted[name] for name in PIPES))  # type: ignore[attr-defined]


def ordered(wanted: Mapping[str, Any]) -> tuple[str, Order] | None:
    """The program and its order, of a start of one of ours that asks for nothing unusual."""
    before = _maker_of(wanted["preexec_fn"])
    if before not in BEFORE or any(wanted[name] != value for name, value in PLAIN.items()):
        return None
    given, niceness = wanted["args"], 0
    words = list(map(os.fsdecode, [given] if isinstance(given, (str, bytes)) else given))
    if words[0] == "nice" and words[1].startswith("-n"):
        niceness, words = int(words[1][2:]), words[2:]
    if words[:2] != [sys.executable, "-m"] or words[2] not in PROGRAMS:
        return None
    environment = dict(_inherited()) if wanted["env"] is None else wanted["env"]
    return words[2], Order(
        arguments=words[3:],
        command_line=words,
        environment={os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()},
        folder=os.path.abspath(os.fsdecode(wanted["cwd"] or os.curdir)),
        parent=os.getpid(),
        interruptible=signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
        new_session=wanted["start_new_session"],
        dies_with_parent=BEFORE[before][0],
        ends_first=BEFORE[before][1],
        niceness=niceness,
        umask=_umask(),
        processors=sorted(os.sched_getaffinity(0)),
    )


def _maker_of(function: Any) -> str | None:
    """The function in which another one was made."""
    if function is None:
        return None
    return ".".join(str(getattr(function, name, "?")) for name in ("__module__", "__qualname__")).partition(
        ".<locals>"
    )[0]


def _umask() -> int:
    """This process's, which to ask the system for is to change it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def _inherited() -> Iterator[tuple[str, str]]:
    """What a process that is told no environment finds: more than `os.environ` has, where a library has set some."""
    variables = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    for variable in takewhile(bool, (variables[number] for number in count())):
        assert variable is not None
        name, _, value = os.fsdecode(variable).partition("=")
        yield name, value


def pytest_configure() -> None:
    """Whoever starts a process here from now on starts it so: tests, and what of ours they run in this process."""
    if sys.platform == "linux":
        subprocess.Popen = Started  # type: ignore[misc]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Forked, unless it says otherwise."""
    SERVERS.rest = item.get_closest_marker(MARK) is not None
    try:
        return (yield)
    finally:
        SERVERS.rest = True


def pytest_unconfigure() -> None:
    """Nothing is left."""
    SERVERS.close()
