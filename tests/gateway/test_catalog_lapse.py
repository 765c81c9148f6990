"""A worker that was out of touch: it stops serving until it has caught up, and never serves what was cut over."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil
import pytest
from sqlalchemy import text

from gateway.catalog_watch import CatalogWatch
from registry.fleet.workers import LEASE_MS
from registry.names import parse_ref
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import CHAT, MESSAGES, House, Stack, locked, run_stack
from tests.support.waiting import DEADLINE_S, wait_until, wait_until_async

NAME = "acme/triage"
LONGER_THAN_A_LEASE_S = LEASE_MS / 1000 + 0.3
SHORT_LEASE_MS = 2_000
LONGER_THAN_SHORT_S = SHORT_LEASE_MS / 1000 + 0.3
LOCK_EVERYTHING = """
import fcntl, os, sys
shared = os.open(sys.argv[1], os.O_RDWR)
for byte in range(120, 128):  # SQLite's locks of its write-ahead log: nobody writes, and nobody reads
    fcntl.lockf(shared, fcntl.LOCK_EX, 1, byte)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def replica_of(stack: Stack) -> Iterator[GatewayProcess]:
    """A second gateway over the same registry and engines, in a process that can be paused."""
    urls = [engine.url for engine in stack.engines]
    with gateway_process(stack.house.settings.state_dir, urls, catalog_poll_s=0.1, engine_check_s=0.2) as replica:
        wait_until("both to be known", lambda: len(stack.house.registry.workers.live()) == 2)
        yield replica


@contextmanager
def everything_locked(house: House) -> Iterator[None]:
    """Another process locks the database so that reads wait as well as writes."""
    command = [sys.executable, "-c", LOCK_EVERYTHING, str(house.settings.state_dir / "registry.db-shm")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as locker:
        assert locker.stdin is not None
        assert locker.stdout is not None
        locker.stdout.readline()
        yield
        locker.stdin.close()


def one_shot_client() -> httpx.Client:
    """A connection for each request: an idle one may be closed, with a request on its way, when the pause ends."""
    return httpx.Client(timeout=DEADLINE_S, limits=httpx.Limits(max_keepalive_connections=0))


def ask(replica: GatewayProcess, house: House, http: httpx.Client) -> str:
    """What a client gets: the model that answered, or the error's code."""
    request = {"model": NAME, "messages": MESSAGES, "max_tokens": 4}
    headers = {"Authorization": f"Bearer {house.keys['acme']}"}
    document = http.post(f"{replica.url}{CHAT}", json=request, headers=headers).json()
    return str(document["error"]["code"] if "error" in document else document["model"])


def test_a_worker_that_was_paused_through_a_cut_over_never_serves_the_old_version(house: House) -> None:
    house.publish(NAME)
    house.publish(NAME)
    house.point(NAME, "1.0")
    with run_stack(house) as stack, replica_of(stack) as replica, one_shot_client() as http:
        assert ask(replica, house, http) == f"{NAME}@1.0"
        process = psutil.Process(replica.pid)
        with ThreadPoolExecutor(8) as callers:
            process.suspend()
            try:
                began = time.monotonic()
                swap = house.promote(NAME, "1.1")
                took_s = time.monotonic() - began
                waiting = [callers.submit(ask, replica, house, http) for _ in range(8)]
                time.sleep(0.3)  # the requests lie in its sockets
            finally:
                process.resume()
            answers = {one.result() for one in waiting}
        assert swap.state == "done"
        assert took_s > LEASE_MS / 1000 - 2, "its lease had to lapse first"
        assert answers <= {"catalog_lapsed", f"{NAME}@1.1"}
        assert "catalog_lapsed" in answers
        wait_until("it to catch up", lambda: ask(replica, house, http) == f"{NAME}@1.1")


def test_a_swap_waits_for_a_worker_that_is_paused_for_less_than_its_lease(house: House) -> None:
    house.publish(NAME)
    house.publish(NAME)
    house.point(NAME, "1.0")
    with run_stack(house) as stack, replica_of(stack) as replica, one_shot_client() as http:
        process = psutil.Process(replica.pid)
        process.suspend()
        try:
            swap = house.registry.swaps.request(parse_ref(f"{NAME}@1.1"), actor="test")
            wait_until("the flip", lambda: house.registry.swaps.get(swap.id).state == "flipped")
            assert "acknowledged_at_ms" not in house.registry.swaps.get(swap.id).detail
        finally:
            process.resume()
        done = house.finished(swap.id)
        assert len(done.detail["acknowledged_by"]) == 2
        assert ask(replica, house, http) == f"{NAME}@1.1"


@pytest.fixture
def short(house: House) -> House:
    """With short leases, for tests that wait for the end of one."""
    house.registry.workers.lease_ms = SHORT_LEASE_MS
    return house


async def test_who_lapses_and_who_does_not(short: House) -> None:
    short.publish(NAME)
    registry = short.registry
    healthy, owing, paused = (CatalogWatch(registry, name, "", 0.05) for name in ("healthy", "owing", "paused"))
    changes: list[int] = []
    running = [asyncio.create_task(watch.run(lambda: changes.append(1))) for watch in (healthy, owing)]
    await asyncio.sleep(0.2)
    owing.look_now(owing.current.revision + 1)  # a revision that it can never read
    assert not any(watch.lapsed for watch in (healthy, owing, paused))
    await asyncio.sleep(LONGER_THAN_SHORT_S)
    assert not healthy.lapsed
    assert owing.lapsed, "somebody has moved on without it"
    assert paused.lapsed, "nobody knows that it lives"
    short.publish(NAME)
    await wait_until_async("both to have read", lambda: not owing.lapsed and len(changes) >= 2)
    assert {worker.id for worker in registry.workers.live()} == {"healthy", "owing"}
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_whose_lease_was_not_renewed_lapses_with_it_however_often_it_has_looked(house: House) -> None:
    house.publish(NAME)
    watch = CatalogWatch(house.registry, "w", "", 0.05)
    running = asyncio.create_task(watch.run(lambda: None))
    await wait_until_async("its lease", house.registry.workers.live)
    leased_until_s = time.monotonic() + LEASE_MS / 1000
    await asyncio.sleep(0.6)  # it looks on, and its next report is not due
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(leased_until_s - time.monotonic())
    assert house.registry.workers.live() == []
    assert watch.lapsed


def _is_current(house: House, watch: CatalogWatch) -> bool:
    assert not watch.lapsed
    return watch.current.revision >= house.registry.db.catalog_revision()


async def test_while_nobody_can_write_no_lease_is_renewed_and_nobody_lapses(house: House) -> None:
    house.publish(NAME)
    watch = CatalogWatch(house.registry, "w", "", 0.05)
    running = asyncio.create_task(watch.run(lambda: None))
    await asyncio.sleep(0.2)
    with locked(house):
        ends = time.monotonic() + LONGER_THAN_A_LEASE_S
        while time.monotonic() < ends:
            assert not watch.lapsed
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_while_the_database_is_away_nobody_lapses_because_nothing_can_move(short: House) -> None:
    short.publish(NAME)
    watch = CatalogWatch(short.registry, "w", "", 0.05)
    running = asyncio.create_task(watch.run(lambda: None))
    await asyncio.sleep(0.2)
    writable = short.registry.db.engine.execution_options(switchyard_write=True)
    with writable.begin() as connection:
        connection.execute(text("ALTER TABLE catalog_revision RENAME TO away"))
    await asyncio.sleep(LONGER_THAN_SHORT_S)
    assert not watch.lapsed
    with writable.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO catalog_revision"))
    short.publish(NAME)
    await wait_until_async("the newest catalog", lambda: _is_current(short, watch))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_while_the_database_hangs_nobody_lapses_either(house: House) -> None:
    house.publish(NAME)
    watch = CatalogWatch(house.registry, "w", "", 0.05)
    running = asyncio.create_task(watch.run(lambda: None))
    await asyncio.sleep(0.2)
    with everything_locked(house):
        ends = time.monotonic() + 2 * LONGER_THAN_A_LEASE_S
        while time.monotonic() < ends:
            assert not watch.lapsed
            await asyncio.sleep(0.01)
    house.publish(NAME)
    await wait_until_async("the newest catalog", lambda: _is_current(house, watch))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_who_was_out_of_touch_before_the_database_went_away_stays_so_until_it_is_back(house: House) -> None:
    house.publish(NAME)
    watch = CatalogWatch(house.registry, "w", "", 0.05)
    await asyncio.sleep(LONGER_THAN_A_LEASE_S)  # paused: nobody runs it
    with everything_locked(house):
        running = asyncio.create_task(watch.run(lambda: None))
        for _ in range(40):
            assert watch.lapsed
            await asyncio.sleep(0.1)
    await wait_until_async("it to have read", lambda: not watch.lapsed)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
