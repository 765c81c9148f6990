"""How a gateway takes leave: readiness fails first, then nothing is accepted, then what runs is ended."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from loadtest.testing import MockEngine
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import CHAT, MESSAGES, House, open_house, run, run_engines
from tests.support.waiting import DEADLINE_S, wait_until

LONG_S = 600
"""Much longer than a test waits."""


@contextmanager
def gateway(
    folder: Path, workers: int, token_ms: float = 0.0, **settings: Any
) -> Iterator[tuple[House, GatewayProcess, MockEngine]]:
    with open_house(folder) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_engines(house, {}) as (mock,):
            options = {"engine_check_s": 0.2, "catalog_poll_s": 0.1, **settings}
            with gateway_process(house.settings.state_dir, [mock.url], workers=workers, **options) as process:
                wait_until("the adapter to be served", lambda: ask(house, process).status_code == 200)
                run(mock.faults(token_ms=token_ms))
                yield house, process, mock


def ask(house: House, process: GatewayProcess, **fields: object) -> httpx.Response:
    """On a connection of its own."""
    body = {"model": "triage", "messages": MESSAGES, "max_tokens": 3, **fields}
    headers = {"Authorization": f"Bearer {house.keys['acme']}"}
    return httpx.post(f"{process.url}{CHAT}", json=body, headers=headers, timeout=DEADLINE_S)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_sigterm_readiness_fails_first_and_new_connections_are_still_served(tmp_path: Path, workers: int) -> None:
    with gateway(tmp_path, workers, stop_delay_s=LONG_S) as (house, process, _):
        parent = psutil.Process(process.pid)
        parent.send_signal(signal.SIGTERM)
        wait_until("readiness to fail", lambda: httpx.get(f"{process.url}/readyz").status_code == 503)
        assert httpx.get(f"{process.url}/readyz").json()["stopping"] is True
        assert httpx.get(f"{process.url}/healthz").status_code == 200
        assert [ask(house, process).status_code for _ in range(8)] == [200] * 8
        parent.send_signal(signal.SIGINT)  # waits for no load balancer
        parent.wait(timeout=DEADLINE_S)
    assert [row["outcome"] for row in house.usage(tenant="acme") if row["outcome"] != "ok"] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_after_its_delay_a_gateway_stops_by_itself(tmp_path: Path, workers: int) -> None:
    with gateway(tmp_path, workers, stop_delay_s=0.5) as (house, process, _):
        parent = psutil.Process(process.pid)
        parent.send_signal(signal.SIGTERM)
        parent.wait(timeout=DEADLINE_S)
        with pytest.raises(httpx.TransportError):
            ask(house, process)


def test_ctrl_c_waits_for_no_load_balancer(tmp_path: Path) -> None:
    with gateway(tmp_path, 2, stop_delay_s=LONG_S) as (_, process, _):
        parent = psutil.Process(process.pid)
        parent.send_signal(signal.SIGINT)
        parent.wait(timeout=DEADLINE_S)
        assert "Traceback" not in process.log.read_text()


def test_a_second_signal_ends_a_single_process_at_once_and_what_ran_is_booked(tmp_path: Path) -> None:
    with gateway(tmp_path, 1, token_ms=200, stop_delay_s=LONG_S, stop_grace_s=LONG_S) as (house, process, mock):
        parent = psutil.Process(process.pid)
        with ThreadPoolExecutor(1) as callers:
            stream = callers.submit(ask, house, process, stream=True, max_tokens=500, ignore_eos=True)
            wait_until("the stream to run", lambda: run(mock.state())["running"] == 1)
            parent.send_signal(signal.SIGTERM)
            wait_until("it to have heard", lambda: httpx.get(f"{process.url}/readyz").status_code == 503)
            parent.send_signal(signal.SIGTERM)
            parent.wait(timeout=DEADLINE_S)
            stream.exception()
        outcomes = {row["outcome"] for row in house.usage(tenant="acme")}
    assert outcomes <= {"ok", "gateway_stopped"}
