"""The state of Responses outlives the processes that serve it: killed, stopped, and several at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from loadtest.testing import MockEngine
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import House, open_house, run, run_engines
from tests.support.waiting import DEADLINE_S, wait_until

OPTIONS: dict[str, Any] = {"engine_check_s": 0.2, "catalog_poll_s": 0.1}


@contextmanager
def filled(folder: Path) -> Iterator[tuple[House, MockEngine]]:
    with open_house(folder) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_engines(house, {}) as (mock,):
            yield house, mock


class Asking:
    """acme's requests, each on a connection of its own: so any worker may get it."""

    def __init__(self, house: House, gateway: GatewayProcess) -> None:
        self._url, self._head = f"{gateway.url}/v1/responses", {"Authorization": f"Bearer {house.keys['acme']}"}

    def create(self, **fields: object) -> Any:
        body = {"model": "triage", "input": "My parcel is late.", **fields}
        return httpx.post(self._url, json=body, headers=self._head, timeout=30).raise_for_status().json()

    def get(self, id_: str) -> Any:
        return httpx.get(f"{self._url}/{id_}", headers=self._head, timeout=30).raise_for_status().json()

    def cancel(self, id_: str) -> Any:
        return httpx.post(f"{self._url}/{id_}/cancel", headers=self._head, timeout=30).raise_for_status().json()


def begin_long(ask: Asking) -> str:
    """In the background: 10 s at 20 ms a token."""
    id_: str = ask.create(background=True, max_output_tokens=500, min_tokens=500)["id"]
    wait_until("it to be made", lambda: ask.get(id_)["status"] == "in_progress")
    return id_


def test_a_conversation_outlives_every_process_and_what_they_made_in_the_background_has_failed(tmp_path: Path) -> None:
    with filled(tmp_path) as (house, mock):
        with gateway_process(house.settings.state_dir, [mock.url], workers=2, **OPTIONS) as gateway:
            ask = Asking(house, gateway)
            wait_until("the adapter to be served", lambda: ask.create()["status"] == "completed")
            first = ask.create()
            run(mock.faults(token_ms=20))
            cancelled, lost = begin_long(ask), begin_long(ask)
            for _ in range(6):  # of several workers any may be asked
                assert ask.cancel(cancelled)["status"] == "cancelled"
            wait_until("the engine to be told", lambda: _running(mock) == 1)
            last = ask.create(previous_response_id=first["id"], max_output_tokens=3)
            for process in (*psutil.Process(gateway.pid).children(recursive=True), psutil.Process(gateway.pid)):
                os.kill(process.pid, signal.SIGKILL)
        run(mock.faults(token_ms=0))
        with gateway_process(house.settings.state_dir, [mock.url], **OPTIONS) as gateway:
            ask = Asking(house, gateway)
            assert (ask.get(first["id"]), ask.get(last["id"])) == (first, last)
            assert ask.create(previous_response_id=last["id"])["status"] == "completed"
            assert ask.get(cancelled)["status"] == "cancelled"
            wait_until("the leader to notice", lambda: ask.get(lost)["status"] == "failed")
            assert ask.get(lost)["error"]["code"] == "server_error"


def test_a_gateway_that_stops_lets_background_responses_run_to_their_end(tmp_path: Path) -> None:
    with filled(tmp_path) as (house, mock):
        with gateway_process(house.settings.state_dir, [mock.url], stop_grace_s=20, **OPTIONS) as gateway:
            ask = Asking(house, gateway)
            wait_until("the adapter to be served", lambda: ask.create()["status"] == "completed")
            run(mock.faults(token_ms=20))
            made = ask.create(background=True, max_output_tokens=100, min_tokens=100)
            wait_until("it to be made", lambda: ask.get(made["id"])["status"] == "in_progress")
            process = psutil.Process(gateway.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
        document = orjson.loads(house.registry.responses.document("acme", made["id"], 0))
        assert (document["status"], document["usage"]["output_tokens"]) == ("incomplete", 100)


def test_a_gateway_that_may_wait_no_longer_lets_them_have_failed(tmp_path: Path) -> None:
    with filled(tmp_path) as (house, mock):
        with gateway_process(house.settings.state_dir, [mock.url], stop_grace_s=0, **OPTIONS) as gateway:
            ask = Asking(house, gateway)
            wait_until("the adapter to be served", lambda: ask.create()["status"] == "completed")
            run(mock.faults(token_ms=20))
            lost = begin_long(ask)
            process = psutil.Process(gateway.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
        document = orjson.loads(house.registry.responses.document("acme", lost, 0))
        assert (document["status"], document["error"]["code"]) == ("failed", "server_error")
        assert "stopped" in document["error"]["message"]


def _running(mock: MockEngine) -> int:
    """Requests that the engine works on now."""
    for line in httpx.get(f"{mock.url}/metrics").text.splitlines():
        if line.startswith("vllm:num_requests_running"):
            return int(float(line.rpartition(" ")[2]))
    raise AssertionError("the engine does not say what runs")
