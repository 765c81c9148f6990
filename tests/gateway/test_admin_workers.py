"""The admin API of a gateway of several processes: every worker answers, and the controller may die."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx

from registry.swaps.infos import FINAL_STATES
from tests.bars.support.gateways import gateway_process
from tests.support.admin_calls import Admin
from tests.support.stack import House, run_engines
from tests.support.waiting import DEADLINE_S, wait_until


def test_every_worker_answers_a_promote_is_acknowledged_by_all_and_a_killed_controller_is_succeeded(
    house: House,
) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with (
        run_engines(house, {}) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], workers=2) as gateway,
        httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=0)) as http,
    ):
        admin = Admin(house, gateway.url, http)

        fleet = gateway.wait_workers(2)
        assert fleet["controller"]["pid"] not in {worker["pid"] for worker in fleet["workers"]}
        assert {admin.ask("GET", "/fleet").status_code for _ in range(20)} == {200}, "whichever worker accepts"
        swap = admin.post("/swaps", version="acme/triage@1.1")

        def ended() -> Any:
            report = admin.get(f"/swaps/{swap['id']}")
            return report if report["swap"]["state"] in FINAL_STATES else None

        report = wait_until("the swap to end", ended)
        assert report["swap"]["state"] == "done"
        assert {one["worker"] for one in report["acknowledged"]} == {worker["id"] for worker in fleet["workers"]}
        os.kill(fleet["controller"]["pid"], signal.SIGKILL)

        def succeeded() -> Any:
            answer = admin.ask("GET", "/fleet")
            assert answer.status_code == 200 or answer.json()["error"]["code"] == "controller_away"
            leader = answer.json()["controller"] if answer.status_code == 200 else fleet["controller"]
            return leader if leader["token"] > fleet["controller"]["token"] else None

        assert wait_until("a successor", succeeded)["pid"] != fleet["controller"]["pid"]
