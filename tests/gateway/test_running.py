"""Commands find the gateway that runs on their state folder, and never believe what a dead one has left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.serving.running import RunningGateway, gateway_of, only_up, remembered, running_gateways
from gateway.settings import GatewaySettings
from registry.errors import Conflict
from tests.bars.support.gateways import gateway_process
from tests.support.fixtures import house
from tests.support.program import running
from tests.support.stack import House, run_engines

__all__ = ["house"]

HOLDER = """
import sys, time
from pathlib import Path
from gateway.serving.running import remembered
from gateway.settings import GatewaySettings
with remembered(GatewaySettings(state_dir=Path(sys.argv[1]), port=int(sys.argv[2]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def no_address_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SWITCHYARD_HOST", "SWITCHYARD_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_a_gateway_is_found_while_it_lives_and_forgotten_when_it_ends(tmp_path: Path) -> None:
    settings = GatewaySettings(state_dir=tmp_path, port=9123)
    assert gateway_of(settings) is None
    with remembered(settings):
        (found,) = running_gateways(tmp_path)
        assert (found.pid, found.url) == (os.getpid(), "http://127.0.0.1:9123")
        assert gateway_of(GatewaySettings(state_dir=tmp_path)) == found
    assert running_gateways(tmp_path) == []


def test_what_a_killed_gateway_has_left_is_not_believed_and_goes_with_the_next_start(tmp_path: Path) -> None:
    killed = subprocess.Popen(running(HOLDER, str(tmp_path), "9124"), stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    assert len(running_gateways(tmp_path)) == 1
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    left = list((tmp_path / "running").glob("gateway-*.json"))
    assert len(left) == 1
    assert running_gateways(tmp_path) == []
    with remembered(GatewaySettings(state_dir=tmp_path)):
        assert not left[0].exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"pid": 1, "url": "x", "admin_url": "x", "started_at_ms": 1}'],
)
def test_a_file_that_nobody_holds_is_never_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "gateway-x.json").write_text(text)
    assert running_gateways(tmp_path) == []


def test_the_newest_of_several_is_meant_unless_the_environment_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (GatewaySettings(state_dir=tmp_path, port=port) for port in (9125, 9126))
    with remembered(first), remembered(second):
        newest = gateway_of(GatewaySettings(state_dir=tmp_path))
        assert isinstance(newest, RunningGateway)
        monkeypatch.setenv("SWITCHYARD_PORT", "9125")
        assert getattr(gateway_of(GatewaySettings(state_dir=tmp_path)), "url", None) == "http://127.0.0.1:9125"
        monkeypatch.setenv("SWITCHYARD_PORT", "9199")
        assert gateway_of(GatewaySettings(state_dir=tmp_path)) is None


def test_one_up_a_state_folder(tmp_path: Path) -> None:
    with (
        only_up(tmp_path, "http://127.0.0.1:8001"),
        pytest.raises(Conflict, match=f"pid {os.getpid()}"),
        only_up(tmp_path, "http://127.0.0.1:8001"),
    ):
        pass
    with only_up(tmp_path, "http://127.0.0.1:8001"):
        pass


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.starts_anew)])
def test_fleet_and_doctor_find_a_gateway_on_a_port_of_its_own_by_themselves(house: House, workers: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")}
    environment["SWITCHYARD_STATE_DIR"] = str(house.settings.state_dir)
    with (
        run_engines(house, {}) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], workers=workers, engine_platform="cpu") as gateway,
    ):
        done = subprocess.run(
            [sys.executable, "-m", "switchyard", "fleet", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert [one["url"] for one in json.loads(done.stdout)["engines"]] == [engine.url]
        done = subprocess.run(
            [sys.executable, "-m", "switchyard", "doctor", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        checks = {check["name"]: check["found"] for check in json.loads(done.stdout)}
        assert checks["gateway"] == f"{gateway.url} is ready"
