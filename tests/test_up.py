"""`switchyard up`: it refuses with one sentence, and leaves nothing running, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from gateway import checks
from gateway.serving.children import child
from gateway.serving.running import only_up
from gateway.serving.supervisor import StartFailed, wait_until_up
from gateway.up import Wanted, require, samples_wanted
from tests.support.waiting import wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT_OF_A_SLEEPER = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
time.sleep(60)
"""
SUPERVISOR = """
import os, sys, time
from pathlib import Path
from gateway.serving.children import child
with child([sys.executable, "-c", "import time; time.sleep(60)"], os.environ, Path(sys.argv[1])) as process:
    print(process.pid, flush=True)
    time.sleep(60)
"""


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_taken_port_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "switchyard", "up", "--port", str(port)],
            env={**os.environ, "SWITCHYARD_STATE_DIR": str(tmp_path / "var"), "COLUMNS": "500"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert f"127.0.0.1:{port} is taken" in line
    assert "--port" in line
    assert not (tmp_path / "var").exists()


def test_a_second_up_on_one_state_folder_is_refused_and_touches_no_log(tmp_path: Path) -> None:
    log = tmp_path / "var" / "logs" / "engine.log"
    log.parent.mkdir(parents=True)
    log.write_text("of the first")
    with only_up(tmp_path / "var", "http://127.0.0.1:9"), socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        done = subprocess.run(
            [sys.executable, "-m", "switchyard", "up", "--port", str(probe.getsockname()[1])],
            env={**os.environ, "SWITCHYARD_STATE_DIR": str(tmp_path / "var")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: `switchyard up` runs on the state folder")
    assert f"pid {os.getpid()}" in done.stderr
    assert log.read_text() == "of the first"
    with only_up(tmp_path / "var", "http://127.0.0.1:9"):
        pass  # the file is still there, and nobody holds it


def test_a_folder_without_the_samples_is_one_sentence_before_anything_is_prepared(tmp_path: Path) -> None:
    wanted = Wanted(engine_port=8001, examples=tmp_path, base_model=None)
    with pytest.raises(StartFailed, match=r"--examples is .*, and .*heldout.jsonl cannot be read"):
        samples_wanted(wanted)


def test_missing_memory_is_named_with_both_figures() -> None:
    with pytest.raises(StartFailed, match=r"memory: .* [MGT]B available, 1,130 TB needed; stop other programs"):
        require([checks.check_memory(needed=2**50)])


def test_a_missing_wheel_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "engine_distribution", lambda: "vllm-of-another-world")
    with pytest.raises(StartFailed, match="vllm-of-another-world is not installed; run `make setup`"):
        require([checks.check_engine_wheel()])


def test_a_child_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    command = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]
    with child(command, os.environ, log) as process, pytest.raises(StartFailed, match=r"status 3: no such model"):
        wait_until_up("engine", "http://127.0.0.1:9/health", process, log, 20)


def test_children_and_their_children_are_gone_after_the_block(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with child([sys.executable, "-c", PARENT_OF_A_SLEEPER], os.environ, log) as process:
        grandchild = int(wait_until("the grandchild", lambda: log.read_text().strip() or None))
    assert gone(process.pid)
    wait_until("the grandchild to be gone", lambda: gone(grandchild))


def test_a_child_dies_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "child.log")]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    orphan = int(supervisor.stdout.readline())
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    wait_until("the child to be gone", lambda: gone(orphan))


def test_stopping_a_child_does_not_wait_for_one_that_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with child(SLEEP, os.environ, tmp_path / "child.log") as process:
        process.kill()
        process.wait()
    assert time.monotonic() - began < 10
