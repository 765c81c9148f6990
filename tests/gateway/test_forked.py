"""Copies of a process: they end as it says, with nothing of its files and signals, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.waiting import DEADLINE_S, wait_until

FORKS = """
import json, os, signal, sys, time
from gateway.serving.children import stop_signals
from gateway.serving.forked import fork

kept, other = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)

def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True

def tell():
    handlers = [signal.getsignal(number) is was for number, was in BEFORE.items()]
    of_its_own = os.getsid(0) == os.getpid()
    print(json.dumps([is_open(kept), is_open(other), of_its_own, handlers, sys.stdin.read()]), flush=True)

def breaks():
    raise ValueError("it broke")

# who began the tests may have had them ignored, in the background or by nohup
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
BEFORE = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
with stop_signals():
    print(fork("tells", tell, [kept]).wait(), flush=True)
    for work in (lambda: sys.exit(3), lambda: sys.exit(), breaks):
        print(fork("ends", work, []).wait(), flush=True)
    waits = fork("sy waits", lambda: time.sleep(600), [])
    print(waits.pid, flush=True)
    waits.wait()
"""


@pytest.fixture
def lines() -> list[str]:
    """What the process above has said when the one that waits is there, which the kill of its parent ends."""
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(6)]
        waits = psutil.Process(int(lines[-1]))
        wait_until("it to have its name", lambda: waits.name() == "sy waits", DEADLINE_S)
        os.kill(process.pid, signal.SIGKILL)
        assert process.stderr is not None
        lines.append(process.stderr.read())
    wait_until("it to end with its parent", lambda: not waits.is_running() or waits.status() == psutil.STATUS_ZOMBIE)
    return lines


def test_a_copy_has_only_the_files_it_is_to_keep_and_the_signals_of_a_new_process_and_ends_with_its_parent(
    lines: list[str],
) -> None:
    assert json.loads(lines[0]) == [True, False, True, [True] * 3, ""]
    assert lines[1] == "0\n"


def test_its_status_is_that_of_a_process_of_its_own(lines: list[str]) -> None:
    assert lines[2:5] == ["3\n", "0\n", "1\n"]
    assert "ValueError: it broke" in lines[-1]
