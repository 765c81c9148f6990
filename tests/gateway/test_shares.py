"""How the workers of a fleet share what an engine runs at once."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from gateway.fleet.shares import shares
from tests.support.stack import CHAT, MESSAGES, open_house, run_stack
from tests.support.waiting import wait_until


def test_a_worker_that_is_alone_has_all_of_an_engine() -> None:
    assert shares(16, {"a": 0}) == {"a": 16}
    assert shares(16, {"a": 99}) == {"a": 16}


def test_while_all_that_is_wanted_fits_each_may_use_what_the_others_do_not() -> None:
    assert shares(16, {"a": 3, "b": 0}) == {"a": 16, "b": 13}
    assert shares(16, {"a": 0, "b": 0}) == {"a": 16, "b": 16}


def test_when_more_is_wanted_it_is_divided_evenly_and_what_one_wants_less_the_others_have() -> None:
    assert shares(16, {"a": 99, "b": 99}) == {"a": 8, "b": 8}
    assert shares(16, {"a": 99, "b": 2}) == {"a": 14, "b": 8}, "and who comes to b waits for no message"
    assert shares(2, {"a": 9, "b": 9, "c": 9}) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("seed", range(20))
def test_what_workers_use_within_their_shares_stays_below_twice_what_there_is(seed: int) -> None:
    draw = random.Random(seed)
    workers = [f"w{number}" for number in range(draw.randint(1, 9))]
    most = draw.randint(len(workers), 200)
    wants = {worker: draw.choice((0, 0, 1, draw.randint(0, 300))) for worker in workers}
    found = shares(most, wants)
    assert all(share >= most // len(workers) for share in found.values())
    settled = sum(min(found[worker], want) for worker, want in wants.items())
    assert settled <= most + len(workers) * (most // len(workers))
    if sum(wants.values()) <= most:
        assert all(found[worker] >= want for worker, want in wants.items())
    else:
        assert sum(found.values()) <= 2 * most - most // len(workers) + len(workers)


def test_the_leader_tells_a_gateways_worker_its_share_and_people_who_waits(tmp_path: Path) -> None:
    with open_house(tmp_path, engine_max_num_seqs=3) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack, ThreadPoolExecutor(8) as pool:
            stack.wait_resident("acme/triage@1.0")
            wait_until("its share", lambda: stack.worker.lines.room.most == {stack.engine.url: 3})
            stack.faults(hang=True)
            body = {"model": "triage", "messages": MESSAGES, "max_tokens": 4}
            head = {"Authorization": f"Bearer {house.keys['acme']}"}
            asked = [
                pool.submit(httpx.post, f"{stack.url}{CHAT}", json=body, headers=head, timeout=60) for _ in range(5)
            ]

            def line() -> list[object] | None:
                url = f"{stack.url}/admin/v1/engines"
                (engine,) = stack.http.get(url, headers=stack.operator).json()["engines"]
                assert engine["max_num_seqs"] == 3
                return engine["line"] if engine["line_waiting"] == 2 else None

            found = wait_until("it to be told", line)
            stack.faults(hang=False)
            assert {one.result().status_code for one in asked} == {200}
            assert found == [{"tenant": "acme", "weight": 1, "running": 3, "waiting": 2}]
