"""Engines that are full, on real sockets: requests wait in the gateway, and no tenant waits for another's many."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.fleet.line import Lines
from gateway.fleet.room import UNKNOWN
from tests.support.stack import CHAT, MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

SLOTS = 2


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An engine that runs two requests at a time, and says nothing of itself that would tell."""
    with open_house(tmp_path_factory.mktemp("narrow"), engine_max_num_seqs=SLOTS) as house:
        for tenant in ("noisy", "quiet"):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        with run_stack(house, engines=({"max_num_seqs": SLOTS},)) as stack:
            stack.wait_resident("noisy/triage@1.0", "quiet/triage@1.0")
            yield stack


@pytest.fixture
def full(narrow: Stack) -> Iterator[Stack]:
    """The engine hangs until a test heals it; afterwards nothing waits or runs."""
    narrow.faults(hang=True)
    yield narrow
    narrow.heal()
    wait_until("all seats to be free", lambda: lines(narrow).room.used == {} and lines(narrow).waiting() == 0)


def lines(stack: Stack) -> Lines:
    return stack.worker.lines


def waiting_tenants(stack: Stack) -> set[str]:
    return {standing.tenant for line in lines(stack).all().values() for standing in line.standings()}


class Clients:
    """Requests that are under way, and the order in which they ended."""

    def __init__(self, stack: Stack, pool: ThreadPoolExecutor) -> None:
        self._stack = stack
        self._pool = pool
        self.ended: list[str] = []

    def ask(self, tenant: str, path: str = CHAT, **body: Any) -> Future[httpx.Response]:
        def answer() -> httpx.Response:
            whole = {"model": "triage", "messages": MESSAGES, "max_tokens": 4, **body}
            answered = httpx.post(
                f"{self._stack.url}{path}",
                json=whole,
                headers={"Authorization": f"Bearer {self._stack.house.keys[tenant]}"},
                timeout=DEADLINE_S,
            )
            self.ended.append(tenant)
            return answered

        return self._pool.submit(answer)

    def flood(self, tenant: str, number: int, **body: Any) -> list[Future[httpx.Response]]:
        """So many requests of which as many run as can, and the others wait."""
        asked = [self.ask(tenant, **body) for _ in range(number)]
        wait_until("the line", lambda: lines(self._stack).waiting() == number - SLOTS)
        return asked


@contextmanager
def clients(stack: Stack) -> Iterator[Clients]:
    with ThreadPoolExecutor(32) as pool:
        try:
            yield Clients(stack, pool)
        finally:
            stack.faults(hang=False)


def test_one_request_of_a_quiet_tenant_passes_all_that_wait_of_another(full: Stack) -> None:
    with clients(full) as some:
        noisy = some.flood("noisy", 16)
        quiet = some.ask("quiet")
        wait_until("it to wait", lambda: lines(full).waiting() == 15)
        assert full.state()["waiting"] == 0, "nothing waits in the engine, which serves whoever came first"
        full.faults(hang=False, token_ms=5.0)
        assert {one.result().status_code for one in (*noisy, quiet)} == {200}
        assert some.ended.index("quiet") <= SLOTS + 1


def test_what_is_waited_for_is_told_and_is_no_part_of_the_gateways_own_time(full: Stack) -> None:
    before = counted(full)
    with clients(full) as some:
        noisy = some.flood("noisy", 4)
        wait_until("them to wait for a while", lambda: lines(full).oldest_s() > 0.5)
        levels = full.gateway.house.telling.levels.now() if full.gateway.house is not None else ()
        told = {name: value for name, _, value in levels}
        assert told["switchyard_line_requests"] == 2
        assert told["switchyard_line_oldest_seconds"] > 0.5
        full.faults(hang=False)
        assert {one.result().status_code for one in noisy} == {200}
    wait_until("it to be told", lambda: counted(full)[0] >= before[0] + 1.0)
    assert counted(full)[1] - before[1] < 0.5


def counted(stack: Stack) -> tuple[float, float]:
    """Seconds that requests have waited for their turn, and that the gateway itself has taken."""
    text = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
    waited = re.findall(r'^switchyard_queue_seconds_sum{cause="turn"} (\S+)$', text, re.MULTILINE)
    own = re.findall(r'^switchyard_overhead_seconds_sum{endpoint="chat"} (\S+)$', text, re.MULTILINE)
    return sum(map(float, waited)), sum(map(float, own))


def test_a_tenants_weight_is_set_by_order_and_counts_at_once(full: Stack) -> None:
    def change(weight: int) -> httpx.Response:
        url, body = f"{full.url}/admin/v1/tenants/quiet", {"weight": weight, "actor": "test"}
        return full.http.patch(url, json=body, headers=full.operator)

    assert [change(weight).status_code for weight in (0, 1_001)] == [400, 400]
    assert change(7).json()["weight"] == 7
    full.wait_revision()
    try:
        with clients(full) as some:
            noisy, quiet = some.flood("noisy", 3), some.ask("quiet")
            wait_until("it to wait", lambda: lines(full).waiting() == 2)
            (line,) = lines(full).all().values()
            assert {one.tenant: one.weight for one in line.standings()} == {"noisy": 1, "quiet": 7}
            full.faults(hang=False)
            assert {one.result().status_code for one in (*noisy, quiet)} == {200}
    finally:
        assert change(1).status_code == 200


def test_streams_wait_as_documents_do(full: Stack) -> None:
    with clients(full) as some:
        noisy, quiet = some.flood("noisy", 6, stream=True), some.ask("quiet", stream=True)
        wait_until("it to wait", lambda: lines(full).waiting() == 5)
        full.faults(hang=False)
        assert all(one.result().text.endswith("data: [DONE]\n\n") for one in (*noisy, quiet))


def test_a_client_that_leaves_the_line_is_gone_from_it(full: Stack) -> None:
    key = full.house.keys["quiet"]
    with clients(full) as some:
        noisy = some.flood("noisy", 4)
        with ExitStack() as open_ones:
            for stream in (True, False):
                client = open_ones.enter_context(httpx.Client(timeout=0.3))
                with pytest.raises(httpx.ReadTimeout):
                    client.post(
                        f"{full.url}{CHAT}",
                        json={"model": "triage", "messages": MESSAGES, "stream": stream},
                        headers={"Authorization": f"Bearer {key}"},
                    )
        wait_until("it to be gone", lambda: lines(full).waiting() == 2)
        full.faults(hang=False)
        assert {one.result().status_code for one in noisy} == {200}


def test_a_response_in_the_background_waits_too_and_is_made(full: Stack) -> None:
    with clients(full) as some:
        noisy = some.flood("noisy", 6)
        key = {"Authorization": f"Bearer {full.house.keys['quiet']}"}
        body = {"model": "triage", "input": "Hello!", "background": True}
        made = httpx.post(f"{full.url}/v1/responses", json=body, headers=key).json()
        assert made["status"] == "queued"
        wait_until("it to wait", lambda: lines(full).waiting() == 5)
        full.faults(hang=False)
        assert {one.result().status_code for one in noisy} == {200}

        def state() -> bool:
            found = httpx.get(f"{full.url}/v1/responses/{made['id']}", headers=key)
            return bool(found.json()["status"] == "completed")

        wait_until("it to be made", state)


def test_what_needs_no_part_of_the_batch_does_not_wait(full: Stack) -> None:
    with clients(full) as some:
        noisy = some.flood("noisy", 4)
        counted = full.post("/tokenize", {"model": "triage", "prompt": "Hello!"}, "quiet")
        assert counted.status_code == 200
        assert lines(full).waiting() == 2
        full.faults(hang=False)
        assert {one.result().status_code for one in noisy} == {200}


def test_while_an_adapter_is_loaded_others_have_the_seat_of_who_waits_for_it(narrow: Stack) -> None:
    narrow.house.publish("noisy/cold")
    narrow.wait_revision()
    narrow.faults(load_ms=1_500.0, token_ms=0.0)
    try:
        with clients(narrow) as some:
            cold = [some.ask("noisy", model="noisy/cold@1.0") for _ in range(3 * SLOTS)]
            wait_until("the load to begin", lambda: len(narrow.worker.loads) == 1)
            assert narrow.chat("triage", "quiet").status_code == 200
            assert len(narrow.worker.loads) == 1, "it was answered during the load"
            assert {one.result().status_code for one in cold} == {200}
    finally:
        narrow.heal()
    wait_until("all seats to be free", lambda: lines(narrow).room.used == {})


def test_a_failed_attempt_gives_its_seat_back(narrow: Stack) -> None:
    narrow.faults(fail_next=(500, 503, 500))
    try:
        with clients(narrow) as some:
            answers = [some.ask("noisy") for _ in range(8)]
            assert all(one.result().status_code in (200, 502, 503) for one in answers)
    finally:
        narrow.heal()
    wait_until("all seats to be free", lambda: lines(narrow).room.used == {})
    assert narrow.chat("triage", "quiet").status_code == 200


def test_whose_turn_does_not_come_in_time_is_told_so(tmp_path: Path) -> None:
    with open_house(tmp_path, engine_max_num_seqs=1, turn_wait_s=0.2) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            stack.wait_resident("acme/triage@1.0")
            stack.faults(hang=True)
            with clients(stack) as some:
                first = some.ask("acme")
                wait_until("it to run", lambda: lines(stack).room.used != {})
                refused = stack.chat("triage")
                assert refused.status_code == 503
                assert json.loads(refused.content)["error"]["code"] == "no_turn"
                assert int(refused.headers["retry-after"]) >= 1
                stack.faults(hang=False)
                assert first.result().status_code == 200


def test_an_engine_of_which_nobody_says_what_it_runs_soon_has_few_that_wait(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        for tenant in ("noisy", "quiet"):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        with run_stack(house, engines=({"max_num_seqs": SLOTS},)) as stack:
            stack.wait_resident("noisy/triage@1.0", "quiet/triage@1.0")
            stack.faults(hang=True)
            assert lines(stack).room.most[stack.engine.url] == UNKNOWN, "before a look has found anything"
            with clients(stack) as some:
                noisy = [some.ask("noisy") for _ in range(20)]
                wait_until("it to be seen", lambda: lines(stack).room.most[stack.engine.url] <= 20 - 9)
                quiet = some.ask("quiet")
                wait_until("it to wait in the gateway", lambda: "quiet" in waiting_tenants(stack))
                stack.faults(hang=False)
                assert {one.result().status_code for one in (*noisy, quiet)} == {200}
