"""Workers that share engines: together they run no more adapters than one engine may, whatever crosses on the way."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from gateway.app import Gateway
from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.hub import Hub
from gateway.fleet.shared_slots import SharedSlots
from gateway.fleet.slot_messages import Sharing
from loadtest.ports import free_port
from tests.support.stack import House, Stack, run_stack, served
from tests.support.waiting import wait_until

URL = "http://engine"
MOST_CARRIED = 10_000
"""Messages until all links are quiet."""


class Post:
    """Links that carry messages in order, one at a time, when the test says so."""

    def __init__(self, *, most: int, tenants: int = 3) -> None:
        self.hub = SimpleNamespace(links={}, on_links=lambda: None)
        self.shared = SharedSlots(cast("Hub", self.hub), 1, lambda: tenants)
        self.most = most
        self.shared.fit({URL: most})
        self.workers: dict[str, AdapterSlots] = {}
        self.down: dict[str, deque[Any]] = {}
        self.up: dict[str, deque[Any]] = {}
        self.tenants = tenants

    def link(self, name: str) -> AdapterSlots:
        worker = self.workers[name] = AdapterSlots(1, lambda: self.tenants)
        worker.fit({URL: self.most})
        self.down[name], self.up[name] = deque(), deque()
        self.hub.links[name] = SimpleNamespace(send=self.down[name].append)
        self.hub.on_links()
        return worker

    def cut(self, name: str) -> None:
        """The link breaks, and what was on it is lost."""
        del self.hub.links[name], self.down[name], self.up[name]
        self.workers[name].be_alone()
        self.hub.on_links()

    def carry(self, name: str, *, down: bool) -> bool:
        """One message, if there is one."""
        box = (self.down if down else self.up)[name]
        if not box:
            return False
        message = box.popleft()
        if not down:
            self.shared.take(self.hub.links[name], message)
        elif not isinstance(message, Sharing):
            self.workers[name].take(message)
        elif message.shared:
            self.workers[name].share(frozenset(message.scarce), self.up[name].append)
        else:
            self.workers[name].be_alone()
        return True

    def carry_all(self) -> None:
        for _ in range(MOST_CARRIED):
            if not any(self.carry(name, down=down) for name in list(self.down) for down in (True, False)):
                return
        raise AssertionError("the links never become quiet")


class Request:
    """One on an adapter, of a worker."""

    def __init__(self, worker: AdapterSlots, adapter: int) -> None:
        self.worker = worker
        self.adapter = adapter
        tenant = f"t{adapter % 3}"
        self.task: asyncio.Task[None] | None = None
        if not worker.join(URL, adapter, tenant):
            self.task = asyncio.create_task(worker.wait(URL, adapter, tenant))

    @property
    def runs(self) -> bool:
        return self.task is None or (self.task.done() and not self.task.cancelled())

    def end(self) -> None:
        if self.runs:
            self.worker.leave(URL, self.adapter)
        elif self.task is not None:
            self.task.cancel()


async def settle() -> None:
    """Tasks do what they can."""
    for _ in range(4):
        await asyncio.sleep(0)


async def settle_by(post: Post) -> None:
    """The same, and all messages arrive."""
    for _ in range(3):
        await settle()
        post.carry_all()
    await settle()


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_crosses_on_the_way_no_more_run_than_may_and_everybody_comes_to_an_end(seed: int) -> None:
    draw = random.Random(seed)
    post = Post(most=draw.randint(1, 4))
    names = ["w0", "w1", "w2"]
    for name in names:
        post.link(name)
    post.carry_all()
    requests: list[Request] = []
    for _ in range(300):
        turn = draw.random()
        if turn < 0.3:
            requests.append(Request(post.workers[draw.choice(names)], draw.randint(0, 8)))
        elif turn < 0.55 and requests:
            requests.pop(draw.randrange(len(requests))).end()
        else:
            post.carry(draw.choice(names), down=draw.random() < 0.5)
        await settle()
        assert len({request.adapter for request in requests if request.runs}) <= post.most
    while requests:
        post.carry_all()
        await settle()
        running = [request for request in requests if request.runs]
        assert running, "nobody runs, and somebody waits"
        for request in running:
            request.end()
            requests.remove(request)
    post.carry_all()
    assert all(worker.waiting == 0 for worker in post.workers.values())
    post.shared.close()


async def test_what_runs_when_a_second_worker_comes_counts_and_counts_still_when_it_has_gone() -> None:
    post = Post(most=2, tenants=1)
    first = post.link("first")
    post.carry_all()
    assert first.leases is None, "a worker alone asks nobody"
    running = [Request(first, 0), Request(first, 3)]
    second = post.link("second")
    late = Request(second, 6)
    assert late.runs, "it has not been told yet"
    late.end()
    post.carry_all()
    waiting = Request(second, 6)
    await settle_by(post)
    assert not waiting.runs
    running.pop().end()
    await settle_by(post)
    assert waiting.runs
    post.cut("second")
    post.carry_all()
    assert first.leases is None
    assert Request(first, 9).runs
    another = Request(first, 12)
    assert not another.runs
    another.end()
    await settle()
    post.shared.close()


async def test_a_slot_with_traffic_is_asked_for_once() -> None:
    post = Post(most=4)
    first = post.link("first")
    post.link("second")
    post.carry_all()
    for _ in range(3):
        request = Request(first, 1)
        await settle()
        asked = len(post.up["first"])
        await settle_by(post)
        assert request.runs
        request.end()
    assert asked == 0
    post.shared.close()


async def test_a_worker_whose_link_breaks_leaves_its_slots_to_others() -> None:
    post = Post(most=1)
    for name in ("first", "second", "third"):
        post.link(name)
    post.carry_all()
    held = Request(post.workers["first"], 1)
    await settle_by(post)
    waiting = Request(post.workers["second"], 2)
    await settle_by(post)
    assert held.runs
    assert not waiting.runs
    post.cut("first")
    await settle_by(post)
    assert waiting.runs
    post.shared.close()


async def test_a_worker_that_goes_while_it_waits_for_two_slots_keeps_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fleet.slots.HELD_S", 0.0)
    post = Post(most=1)
    for name in ("first", "second", "third"):
        post.link(name)
    post.carry_all()
    held = Request(post.workers["first"], 1)
    await settle_by(post)
    of_another = Request(post.workers["second"], 2)
    await settle_by(post)  # the slot is closed for it
    of_the_same = Request(post.workers["second"], 1)  # which may have it again when nobody else waits
    await settle_by(post)
    assert (held.runs, of_another.runs, of_the_same.runs) == (True, False, False)
    post.cut("second")
    held.end()
    await settle_by(post)
    later = Request(post.workers["third"], 5)
    await settle_by(post)
    assert later.runs
    for one in (of_another, of_the_same, later):
        one.end()
    await settle()
    post.shared.close()


async def test_an_engine_that_leaves_when_nobody_waits_any_more_is_forgotten() -> None:
    slots = AdapterSlots()
    slots.fit({URL: 1})
    assert slots.join(URL, 1, "acme")
    waiting = asyncio.create_task(slots.wait(URL, 2, "globex"))
    await settle()
    assert (slots.waiting, slots.wanted) == (1, {URL})
    slots.leave(URL, 1)
    await waiting
    slots.leave(URL, 2)
    slots.fit({})
    assert (slots.waiting, slots.wanted) == (0, set())


@contextmanager
def second_gateway(stack: Stack) -> Iterator[str]:
    """One more worker of the fleet that the stack's gateway leads; its URL."""
    settings = stack.house.settings.model_copy(update={"port": free_port()})
    with served(Gateway(settings, leads=False)) as url:
        wait_until("both to know that they share", lambda: stack.worker.slots.leases is not None)
        yield url


def test_two_gateways_together_leave_a_slot_for_another_tenant(house: House) -> None:
    names = [f"acme/task-{number}" for number in range(4)]
    for name in [*names, "globex/support"]:
        house.publish(name)
        house.point(name, "1.0")
    with run_stack(house, engines=({"max_loras": 4},)) as stack, second_gateway(stack) as url:
        stack.wait_resident(*names, "globex/support")
        stack.chat("globex/support", key="globex")
        wait_until("the number of slots to be known", lambda: stack.worker.view().engines[0].status.slots == 4)
        stack.faults(token_ms=50)
        with ThreadPoolExecutor(4) as callers:

            def ask(where: str, name: str, key: str, **more: Any) -> httpx.Response:
                body = {"model": name, "messages": [{"role": "user", "content": "Hm."}], "max_tokens": 4, **more}
                headers = {"Authorization": f"Bearer {house.keys[key]}"}
                return httpx.post(f"{where}/v1/chat/completions", json=body, headers=headers, timeout=30)

            long = {"stream": True, "max_tokens": 400, "min_tokens": 400}
            many = [callers.submit(ask, (stack.url, url)[n % 2], names[n], "acme", **long) for n in range(4)]
            wait_until("three adapters to run", lambda: stack.state()["running"] == 3)
            for where in (stack.url, url):
                assert ask(where, "globex/support", "globex").status_code == 200
            assert not any(one.done() for one in many)
            assert stack.state()["waiting"] == 0, "what the engine cannot run was sent to it"
            stack.faults(token_ms=0)
            assert [one.result().status_code for one in many] == [200] * 4
