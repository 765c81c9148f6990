"""What `switchyard up` does when a child ends: it says why, starts it again, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.serving.supervisor import Role, wait_until_up
from gateway.up import gateway_role
from loadtest.ports import free_port
from tests.support.fixtures import house
from tests.support.stack import BASE, MESSAGES, House
from tests.support.supervised import server_role, supervised, wait_gone
from tests.support.waiting import DEADLINE_S, wait_until

__all__ = ["house"]

TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nRuntimeError: the real reason'


def end(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(f"{url}/end", timeout=5)


def test_a_killed_engine_is_started_again_and_its_adapters_come_back(house: House, tmp_path: Path) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    engine_url = f"http://127.0.0.1:{free_port()}"
    engine = Role(
        "engine",
        "loading",
        engine_url,
        [
            *(sys.executable, "-m", "loadtest.mock_engine", "--port", engine_url.rpartition(":")[2]),
            *("--model", str(house.base_folder)),
        ],
        {**gateway_environment(house), "PYTHONPATH": str(Path(__file__).parents[2])},
        ready_url=f"{engine_url}/health",
        alive_url=f"{engine_url}/health",
        start_timeout_s=30,
        meanwhile="requests get a 503 until then",
    )
    settings = house.settings.model_copy(update={"port": free_port(), "stop_grace_s": 2})
    gateway = gateway_role(settings, engine_url, BASE, "cpu", 16)
    gateway = Role(**{**asdict(gateway), "environment": {**gateway.environment, **gateway_environment(house)}})
    engine = replace(engine, served_url=gateway.ready_url)
    request = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 2}
    headers = {"Authorization": f"Bearer {house.keys['acme']}"}
    with (
        supervised([engine, gateway], tmp_path / "logs") as up,
        httpx.Client(headers=headers, timeout=DEADLINE_S) as client,
    ):

        def ask() -> httpx.Response:
            return client.post(f"{gateway.url}/v1/chat/completions", json=request)

        up.wait_for("READY")
        assert ask().status_code == 200
        up.child("loadtest.mock_engine").kill()
        away = wait_until("a 503", lambda: next((got for got in [ask()] if got.status_code != 200), None))
        assert away.status_code == 503
        assert int(away.headers["retry-after"]) > 0
        line = up.wait_for("SIGKILL")
        assert "Starting it again in 1 s; requests get a 503 until then" in line
        up.wait_for("engine", times=3)
        assert "up again after" in up.said[-1]
        assert ask().status_code == 200, "it is said when requests are served again, were it after a load"

        serving = up.child("loadtest.mock_engine").pid
        up.child("switchyard").kill()
        up.wait_for("gateway", times=3)
        wait_until("the gateway to be back", lambda: answers_200(ask))
        assert up.child("loadtest.mock_engine").pid == serving


def gateway_environment(house: House) -> dict[str, str]:
    return {"SWITCHYARD_STATE_DIR": str(house.settings.state_dir), "SWITCHYARD_STOP_GRACE_S": "2"}


def answers_200(ask: object) -> bool:
    with suppress(httpx.HTTPError):
        return bool(ask().status_code == 200)  # type: ignore[operator]
    return False


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (TRACEBACK, 1, "ended with status 1: RuntimeError: the real reason"),
        ("INFO:     GET /health 200", 0, "ended with status 0, and its log names no reason"),
        ("ERROR 11-28 10:00:00 [core.py:7] no room for the KV cache", 3, "status 3: no room for the KV cache"),
    ],
)
def test_a_child_that_ends_is_said_with_its_reason(words: str, status: int, expected: str, tmp_path: Path) -> None:
    role = server_role(free_port(), tmp_path, words=words, status=status)
    with supervised([role], tmp_path / "logs") as up:
        up.wait_for("READY")
        end(role.url)
        assert expected in up.wait_for("Starting it again")
        up.wait_for("up again")


def test_one_that_runs_and_says_that_it_is_dead_is_started_again(tmp_path: Path) -> None:
    role = server_role(free_port(), tmp_path, dead_after_s=0.1)
    with supervised([role], tmp_path / "logs") as up:
        up.wait_for("READY")
        (tmp_path / "dead").touch()
        assert "that it is dead (HTTP 503), so it was stopped" in up.wait_for("Starting it again")
        (tmp_path / "dead").unlink()
        up.wait_for("up again")


def test_one_that_ends_again_and_again_is_never_given_up_and_said_less_often(tmp_path: Path) -> None:
    role = server_role(free_port(), tmp_path, first_pause_s=0.001)
    with supervised([role], tmp_path / "logs") as up:
        up.wait_for("READY")
        log = tmp_path / "logs" / "engine.log"
        for started in range(1, 6):
            wait_for_starts(log, started)
            wait_until("it to answer", lambda: reachable(role.url))
            end(role.url)
        wait_for_starts(log, 6)
        said = [line for line in up.said if "Starting it again" in line]
    assert [("(2 times" in line, "(4 times" in line) for line in said] == [(False, False), (True, False), (False, True)]


def wait_for_starts(log: Path, number: int) -> None:
    wait_until(f"{number} starts", lambda: log.read_text().count("started by switchyard up") == number)


def reachable(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url).status_code == 200
    return False


def test_a_first_start_that_fails_ends_with_the_reason_and_leaves_nothing(tmp_path: Path) -> None:
    first = server_role(free_port(), tmp_path, name="first")
    command = [sys.executable, "-c", "raise OSError(98, 'Address already in use')"]
    with supervised([first, server_role(1, tmp_path, command=command)], tmp_path / "logs") as up:
        said = up.wait()
    assert "FAILED engine: starting: it ended with status 1: OSError: [Errno 98] Address already in use" in said
    assert not reachable(first.url)


def test_one_that_ends_while_the_next_starts_is_the_reason(tmp_path: Path) -> None:
    first = server_role(free_port(), tmp_path, name="first", words=TRACEBACK)
    never = server_role(1, tmp_path, command=[sys.executable, "-c", "import time; time.sleep(60)"])
    with supervised([first, never], tmp_path / "logs") as up:
        up.wait_for("first     up")
        end(first.url)
        assert "FAILED first: it ended with status 1: RuntimeError: the real reason" in up.wait()


def test_logs_of_earlier_runs_are_kept(tmp_path: Path) -> None:
    for words in ("first words", "second words", "third words"):
        role = server_role(1, tmp_path, command=[sys.executable, "-c", f"raise SystemExit('{words}')"])
        with supervised([role], tmp_path / "logs") as up:
            up.wait()
    kept = [tmp_path / "logs" / name for name in ("engine.2.log", "engine.1.log", "engine.log")]
    assert [path.read_text().splitlines()[-1] for path in kept] == ["first words", "second words", "third words"]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("pause_s", [0.001, 30.0], ids=["while it starts again", "in the pause before"])
def test_a_signal_during_a_restart_leaves_no_process(number: signal.Signals, pause_s: float, tmp_path: Path) -> None:
    """The second life of the child never comes up."""
    twice = "import os, sys, time\nif os.path.exists(sys.argv[-1]): time.sleep(60)\nopen(sys.argv[-1], 'w').close()\n"
    role = server_role(free_port(), tmp_path, first_pause_s=pause_s)
    code = twice + str(role.command[2])
    role = Role(**{**asdict(role), "command": [role.command[0], "-c", code, *role.command[3:], str(tmp_path / "once")]})
    other = server_role(free_port(), tmp_path, name="other")
    with supervised([other, role], tmp_path / "logs") as up:
        up.wait_for("READY")
        family = psutil.Process(up.process.pid).children(recursive=True)
        up.child("once").kill()
        up.wait_for("Starting it again")
        if pause_s < 1:
            family.append(up.child("once"))
        said = up.end(number)
        assert ("STOPPED" in said) == (number != signal.SIGKILL)
        for process in family:
            wait_gone(process.pid)


def test_one_that_serves_nothing_delays_nobody_and_is_started_again(tmp_path: Path) -> None:
    served = server_role(free_port(), tmp_path, name="gateway")
    code = "import pathlib, signal, sys\npathlib.Path(sys.argv[1]).open('a').write('x')\nsignal.pause()"
    runs = tmp_path / "runs"
    worker = Role("trainer", "takes jobs", "", [sys.executable, "-c", code, str(runs)], dict(os.environ))
    with supervised([served, worker], tmp_path / "logs") as up:
        up.wait_for("READY")
        assert any(line.startswith("trainer   takes jobs (log: ") for line in up.said)
        wait_until("it to run", lambda: runs.exists() and runs.read_text() == "x")
        up.child(str(runs)).kill()
        assert "SIGKILL" in up.wait_for("Starting it again")
        up.wait_for("up again")
        wait_until("it to run again", lambda: runs.read_text() == "xx")


def test_a_look_at_a_child_makes_no_context_of_tls_as_each_takes_longer_than_all_else_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*_: object, **__: object) -> None:
        raise AssertionError("a context of TLS was made")

    monkeypatch.setattr(ssl, "create_default_context", made)
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, stdout=nowhere, stderr=nowhere) as process:
        try:
            assert wait_until_up("it", f"http://127.0.0.1:{port}/", process, tmp_path / "log", DEADLINE_S) < DEADLINE_S
        finally:
            process.kill()
