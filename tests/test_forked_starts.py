"""What is forked is what a command line would have started (`tests/support/forked_starts.py`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import forked_starts
from tests.support.forked_starts import SERVERS, ForkServers
from tests.support.program import running
from tests.support.supervised import wait_gone
from tests.support.waiting import DEADLINE_S, wait_until
from trainer.jobs.executors import LocalExecutor
from trainer.jobs.folder import JobFolder

TELLS = """
import gc, json, os, signal, sys, threading
print("read", sys.stdin.read(), file=sys.stderr)
print(json.dumps({
    "argv": sys.argv[1:], "folder": os.getcwd(), "environment": sorted(os.environ.items()), "path": sys.path[:2],
    "leads its session": os.getsid(0) == os.getpid(), "leads its group": os.getpgid(0) == os.getpid(),
    "parent": os.getppid(), "niceness": os.nice(0), "umask": os.umask(0),
    "processors": sorted(os.sched_getaffinity(0)), "files": len(os.listdir("/proc/self/fd")),
    "standard files": [[one.encoding, one.errors, one.line_buffering, one.isatty(), one.fileno()]
        for one in (sys.stdin, sys.stdout, sys.stderr)],
    "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "threads": threading.active_count(),
    "garbage": [gc.isenabled(), gc.get_threshold()], "shown": open("/proc/self/cmdline").read().rstrip(chr(0)),
}))
"""
STARTS: dict[str, dict[str, Any]] = {
    "as it is": {"stdin": subprocess.DEVNULL},
    "with input": {"input": b"some text"},
    "in a session of its own": {"start_new_session": True, "input": b""},
    "in another environment": {"env": {"PATH": "/bin", "PYTHONPATH": "/nowhere", "A": "\u00e9"}, "input": b""},
    "for another language": {"env": {**os.environ, "PYTHONIOENCODING": "latin-1"}, "input": b""},
    "with all in one": {"stderr": subprocess.STDOUT, "input": b""},
}
ENDS = {
    "pass": 0,
    "raise SystemExit(3)": 3,
    "raise SystemExit('a reason')": 1,
    "1 / 0": 1,
    "import os; os.kill(os.getpid(), 9)": -signal.SIGKILL,
}
PARENT = """
import os, signal, subprocess, sys
from pathlib import Path
from gateway.serving.children import start
from tests.support.forked_starts import SERVERS, Started
from tests.support.program import running
from trainer.jobs.executors import LocalExecutor
from trainer.jobs.folder import JobFolder
subprocess.Popen, SERVERS.rest = Started, False
code, log = "import time; time.sleep(60)", Path(sys.argv[1])
print({starts}, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
CHILDREN = {
    "gateway": "start(running(code), os.environ, log).pid",
    "trainer": "LocalExecutor(1, 0, ('tests.support.program', code)).start(JobFolder(log.parent))._process.pid",
}
CHILD = """
import ctypes
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))
print(open("/proc/self/oom_score_adj").read().strip(), signal.value, flush=True)
"""


@pytest.fixture(params=[False, True], ids=["forked", "anew"])
def anew(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """How processes are started."""
    monkeypatch.setattr(SERVERS, "rest", request.param)
    return bool(request.param)


@pytest.fixture
def another_umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("another_umask")
@pytest.mark.parametrize("how", STARTS)
@pytest.mark.parametrize("before", [(), ("nice", "-n3")], ids=["", "nice"])
def test_a_forked_program_finds_what_one_that_is_started_finds(
    how: str, before: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    for rest in (False, True):
        monkeypatch.setattr(SERVERS, "rest", rest)
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **STARTS[how]}
        done = subprocess.run([*before, *running(TELLS, "one", "two words")], check=False, timeout=60, **options)
        assert done.returncode == 0, done.stderr
        told.append({**json.loads(done.stdout.splitlines()[-1]), "read": done.stderr})
    forked, started = told
    for name in started:
        assert forked[name] == started[name], name
    assert forked["argv"] == ["one", "two words"]
    assert forked["parent"] == os.getpid()


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["", "in the background"])
def obeys(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether Ctrl-C means something to this process, and so to what it starts."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param is not signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("anew")
def test_ctrl_c_ends_it_unless_it_is_in_the_background(obeys: bool) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    done = subprocess.run(running(code), stderr=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == (-signal.SIGINT if obeys else 0)


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize("code", ENDS)
def test_how_it_ended_is_told_as_of_any_process(code: str) -> None:
    done = subprocess.run(running(code), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ENDS[code]
    said = {"raise SystemExit('a reason')": "a reason\n", "1 / 0": "ZeroDivisionError: division by zero\n"}
    assert done.stderr.endswith(said.get(code, ""))


@pytest.mark.usefixtures("anew")
async def test_a_coroutine_can_wait_for_it_and_end_it() -> None:
    code = "import sys, time; print('here', flush=True); time.sleep(60)"
    process = await asyncio.create_subprocess_exec(*running(code), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        assert await process.stdout.readline() == b"here\n"
        assert process.pid in {one.pid for one in psutil.Process().children()}
        process.terminate()
        assert await process.wait() == -signal.SIGTERM


def test_a_forked_program_has_nothing_to_import_and_one_that_is_started_all(anew: bool) -> None:
    done = subprocess.run(
        running("import sys; print('gateway.app' in sys.modules)"), stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.stdout == f"{not anew}\n"


@pytest.mark.parametrize("whose", CHILDREN)
def test_who_is_to_die_with_its_parent_does(whose: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT.format(starts=CHILDREN[whose]), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert parent.wait(DEADLINE_S) == -signal.SIGKILL
        wait_gone(pid)


@pytest.mark.usefixtures("anew")
def test_the_child_of_a_job_is_what_the_kernel_ends_first_and_by_sigkill(tmp_path: Path) -> None:
    child = LocalExecutor(1, 0, ("tests.support.program", CHILD)).start(JobFolder(tmp_path))
    assert child.next_line(DEADLINE_S) == f"1000 {int(signal.SIGKILL)}\n"
    assert wait_until("its end", lambda: child.next_line(0.01) is None and child.status is not None)
    assert child.status == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"pass_fds": (1,)},
        {"umask": 0o77},
        {"preexec_fn": os.getpid},
        {"preexec_fn": partial(os.nice, 0)},
        {"process_group": 0},
    ],
)
def test_a_start_that_asks_for_what_no_fork_can_do_is_a_start(asked: dict[str, Any]) -> None:
    code = "import sys; print('gateway.app' in sys.modules)"
    done = subprocess.run(running(code), stdout=subprocess.PIPE, text=True, timeout=60, check=True, **asked)
    assert done.stdout == "False\n"


def test_a_copy_that_ends_before_it_has_a_number_is_not_taken_for_one_that_began() -> None:
    """The server would be the program itself."""
    code = (
        "import os; from tests.support import fork_server; os.setsid = lambda: os._exit(1); fork_server._forked(True)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=forked_starts.ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "the copy ended before it had said its number\n")


def test_of_processes_that_wait_to_be_forked_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = ForkServers()
    servers.rest = False
    monkeypatch.setattr(forked_starts, "SERVERS", servers)
    monkeypatch.setattr(forked_starts, "MOST", 1)
    waiting = []
    try:
        for program in ("loadtest.mock_engine", "gateway.clerk_process", "loadtest.mock_engine"):
            command = [sys.executable, "-m", program, "--help"]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)
            waiting.append([program for program, _ in servers._servers])
    finally:
        servers.close()
    assert waiting == [["loadtest.mock_engine"], ["gateway.clerk_process"], ["loadtest.mock_engine"]]
