"""The dashboard as a process: started by `switchyard up` and alone, asked for links, killed; the others go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gateway.admin_key import admin_key
from gateway.up import dashboard_role, where_the_dashboard_is
from loadtest.ports import free_port
from registry.errors import RegistryError
from switchyard.commands.dashboard import new_link, place_of, settings_of
from tests.support.dashboard_parts import seen
from tests.support.stack import Stack
from tests.support.supervised import server_role, supervised
from tests.support.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """Where it listens."""
    port = free_port()
    monkeypatch.setenv("SWITCHYARD_DASHBOARD_PORT", str(port))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return port


def test_up_starts_it_with_a_link_and_again_when_it_was_killed(stack: Stack, port: int, tmp_path: Path) -> None:
    place = place_of(stack.house.settings)
    key = admin_key(stack.house.settings)
    role = replace(dashboard_role(place), first_pause_s=0.05)
    with supervised([role], tmp_path / "logs") as up, httpx.Client(timeout=30, trust_env=False) as http:
        up.wait_for("READY")
        assert not place.shows_links  # of a test the output is a file
        assert "/enter/" not in "".join(where_the_dashboard_is(place, key)), "who reads the log could log in"
        assert f"{place.url}/enter/" in where_the_dashboard_is(replace(place, shows_links=True), key)[0]
        url = place.link(key)
        assert url.startswith(f"http://127.0.0.1:{port}/enter/")
        assert http.get(url).status_code == 200
        assert "Engines in traffic 1 of 1" in seen(http.get(place.url).text)
        up.child("dashboard").kill()
        assert "nothing else is touched by that" in up.wait_for("SIGKILL")
        up.wait_for("up again")
        assert http.get(place.link(key)).status_code == 200
        assert key not in (tmp_path / "logs" / "dashboard.log").read_text()
        assert "/enter/" not in (tmp_path / "logs" / "dashboard.log").read_text(), "who reads the log could log in"


def test_one_that_does_not_come_up_is_named_and_takes_nobody_along(tmp_path: Path) -> None:
    gateway = server_role(free_port(), tmp_path, name="gateway")
    broken = replace(
        server_role(free_port(), tmp_path, name="dashboard"),
        command=[sys.executable, "-c", "print('no such module'); raise SystemExit(3)"],
        optional=True,
        first_pause_s=60.0,
        meanwhile="",
    )
    with supervised([gateway, broken], tmp_path / "logs") as up:
        up.wait_for("READY")
        assert "status 3: no such module" in up.wait_for("Starting it again in 60 s")
        assert httpx.get(gateway.url).status_code == 200


def test_a_child_that_must_be_there_still_ends_the_start(tmp_path: Path) -> None:
    gateway = server_role(free_port(), tmp_path, name="gateway")
    broken = replace(gateway, name="engine", command=[sys.executable, "-c", "raise SystemExit(3)"])
    with supervised([broken, gateway], tmp_path / "logs") as up:
        assert "FAILED engine: starting: it ended with status 3" in up.wait_for("FAILED")


def test_alone_it_says_where_it_is_and_ends_at_a_signal(stack: Stack, port: int) -> None:
    command = [sys.executable, "-m", "switchyard", "dashboard", "--url", stack.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ), cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"dashboard at http://127.0.0.1:{port}, of the gateway at {stack.url}\n"
        assert "switchyard dashboard link" in process.stdout.readline()
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).text == "ok"
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE_S)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def test_a_taken_port_is_one_sentence_with_the_remedy(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = stack.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "switchyard", "dashboard", "--port", taken],
        env={**os.environ, "COLUMNS": "500"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"127.0.0.1:{taken} is taken" in done.stderr
    assert "--port" in done.stderr


def test_a_link_of_a_dashboard_that_is_not_there_or_knows_the_key_not_is_one_sentence(stack: Stack, port: int) -> None:
    with pytest.raises(RegistryError, match=f"no dashboard answers at http://127.0.0.1:{port}"):
        new_link(settings_of(None, None, stack.url), "sk-admin-x")
    place = place_of(stack.house.settings)
    command = [sys.executable, "-m", "switchyard", "dashboard"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **place.environment}, cwd=ROOT)
    try:
        wait_until("it to listen", lambda: _answers(place.url))
        with pytest.raises(RegistryError, match="gives no link: This is not the operator's key"):
            place.link("sk-admin-" + "x" * 40)
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
