"""1,000 concurrent requests with $1 left, and 10,000 aborted ones: no dollar too many, no hold left, the books agree.

First one gateway of one worker. There comes all at once what costs many times the dollar that is left of the day's
budget: streams and whole answers, several answers to a prompt, with and without max_tokens, and some whose clients hang
up. Then clients hang up: before the answer, and in the middle of it. Once all is settled, nothing may be held, and the
gateway's counters must say what the ledger says, to the nano-dollar and the token. Then the same dollar in front of a
gateway with two workers, to which its controller lends it in parts, and in front of two gateways that share it through
a real Valkey. Last, a dollar a day while the clock jumps by hours and days, and a dollar for prompts of which the
tokenizer makes twice as many tokens as they have bytes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from gateway.admin_key import admin_key
from gateway.limits.counters import Counter
from loadtest.testing import MockEngine
from registry.days import DAY_MS, day_of
from registry.db import now_ms
from registry.limits.spending import Spent
from registry.money import dollars_to_nano
from tests.bars.support.gateways import gateway_process
from tests.bars.support.glitches import jumping_clock
from tests.support.stack import CHAT, House, Stack, open_house, run_engines, run_gateway
from tests.support.valkey_server import valkey_server
from tests.support.waiting import wait_until

AT_ONCE, ABORTS, ABORTS_AT_ONCE, RETRIES, SEED = 1_000, 10_000, 16, 2, 5
LEAVES_EVERY, GLIMPSED_DAYS = 5, 42
COMPOSES = {"tokenizer": "composed bytes", "max_model_len": 2_048}
PATIENCE_S = 0.3
"""After which a client hangs up that has heard nothing."""
DOLLAR = 1_000_000_000
SPENDER, LEAVER = "acme", "globex"
DRAIN_S = 60.0
LONGER_COMPOSED = "\u0fb9"
"""Three bytes, which are six when it is composed."""
MANY: dict[str, Any] = {"max_in_flight": 4_096, "max_in_flight_per_tenant": 2_048, "engine_max_in_flight": 2_048}


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Spend the dollar, hang up, compare."""
    at_once, aborts = max(100, int(AT_ONCE * scale)), max(200, int(ABORTS * scale))
    with open_house(folder) as house:
        house.registry.tariffs.add("base:tiny", input_dollars="100", output_dollars="1000", source="this benchmark")
        for tenant in (SPENDER, LEAVER):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        with run_engines(house, {"token_ms": 20, "ttft_ms": 10}) as mocks:
            one_worker, left = _spent_and_left(house, mocks, at_once, aborts)
            two_workers = _shared(house, mocks[0].url, at_once, gateways=1, workers=2)
            with valkey_server(folder / "valkey") as store:
                two_gateways = _shared(
                    house, mocks[0].url, at_once, gateways=2, workers=1, limits_store=store.connection_url
                )
        glitches = _one_more(house, at_once, _bodies, {"token_ms": 5}, jumping_clock(SEED))
        composed = _one_more(house, at_once, _composed, COMPOSES, nullcontext())
    shared, alone = (one_worker, two_workers, two_gateways), (glitches, composed)
    overshoot = max(0, *(one.spent_nano - DOLLAR for one in shared), *(one.beyond_nano for one in alone)) / DOLLAR
    leaked, drift = sum(one.leaked for one in shared), sum(one.drift for one in shared)
    return {
        "figures": {"overshoot_usd": overshoot, "leaked": leaked, "drift": drift},
        "bars": {
            "no more is spent than there is": overshoot == 0,
            "no hold is left": leaked == 0,
            "counters are what the ledger says": drift == 0,
            "more than half of the dollar is spent": min(one.spent_nano for one in shared) > DOLLAR // 2,
            "by a clock that jumps, and for what composing makes longer, something": min(
                one.spent_nano for one in alone
            )
            > 0,
            "what is not served is a 429": set().union(*(one.statuses for one in shared)) == {200, 429},
        },
        "detail": {
            "at_once": at_once,
            "spent_of_the_last_dollar_usd": one_worker.spent_nano / DOLLAR,
            "one_worker": one_worker.document(),
            "two_workers": two_workers.document(),
            "two_gateways_on_valkey": two_gateways.document(),
            "clock_jumps": glitches.document(),
            "composed_prompts": composed.document(),
            "aborts": aborts,
            "aborted_in_the_middle": left,
        },
    }


@dataclass(frozen=True)
class Shared:
    """What became of a dollar in one process, or in several that shared it."""

    statuses: Tally[int]
    served_by: int
    """Processes that have spent some of it."""
    spent_nano: int
    leaked: int
    """Processes that hold something though no request runs."""
    drift: int
    """Nano-dollars by which the counters of all processes differ from the ledger."""

    def document(self) -> dict[str, Any]:
        """For the result's file."""
        statuses = {str(one): self.statuses[one] for one in sorted(self.statuses)}
        return {"statuses": statuses, "spent_usd": self.spent_nano / DOLLAR, "served_by": self.served_by}


def _spent_and_left(house: House, mocks: list[MockEngine], at_once: int, aborts: int) -> tuple[Shared, int]:
    """The dollar in one worker, and then clients that hang up; how many of them did in the middle of an answer."""
    with run_gateway(house, mocks, default_output_tokens=64, **MANY) as stack:
        house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": 2 * DOLLAR, "daily_tokens": 10**9})
        house.registry.limits.set(f"tenant:{LEAVER}", {"monthly_nano": 10**6 * DOLLAR, "tokens_per_minute": 10**10})
        stack.wait_revision()
        wait_until("the ledger to be read", lambda: all(_counter(stack, one).books_read for one in (SPENDER, LEAVER)))
        already = asyncio.run(_spend_until(stack, DOLLAR // 5))
        house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": already + DOLLAR})
        stack.wait_revision()
        statuses = asyncio.run(_all_at_once([stack.url], house.keys[SPENDER], at_once))
        left = asyncio.run(_hang_up(stack, aborts))
        counters = [_counter(stack, tenant) for tenant in (SPENDER, LEAVER)]
        wait_until("all requests to end", lambda: not any(one.in_flight for one in counters), DRAIN_S)
        leaked = sum(bool(one.in_flight or one.held_nano or one.held_tokens) for one in counters)
        wait_until("the ledger to have it all", lambda: _drift(stack, counters) == 0 or None, DRAIN_S)
        drift = _drift(stack, counters)
        spent = _in_the_books(stack, SPENDER).nano
    return Shared(statuses, 1, spent - already, leaked, drift), left


def _shared(
    house: House, engine_url: str, at_once: int, *, gateways: int, workers: int, limits_store: str | None = None
) -> Shared:
    """Another dollar, and so many processes."""
    before = _in_all(house)
    house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": before + DOLLAR})
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                gateway_process(
                    house.settings.state_dir,
                    [engine_url],
                    workers=workers,
                    default_output_tokens=64,
                    limits_store=limits_store,
                    **MANY,
                )
            )
            for _ in range(gateways)
        ]
        urls = [gateway.url for gateway in running]
        statuses = asyncio.run(_all_at_once(urls, house.keys[SPENDER], at_once))
        processes = gateways * workers

        def settled() -> dict[str, dict[str, int]] | None:
            told = _told(house, urls, processes)
            agree = all(one["held"] == 0 and one["spent"] == one["spent_in_ledger"] for one in told.values())
            return told if agree else None

        with suppress(AssertionError):
            wait_until("the processes to agree with the ledger", settled, DRAIN_S)
        told = _told(house, urls, processes)
    return Shared(
        statuses,
        len({writer for writer, one in told.items() if one["spent"]}),
        _in_all(house) - before,
        sum(one["held"] > 0 for one in told.values()),
        sum(abs(one["spent"] - one["spent_in_ledger"]) for one in told.values()),
    )


@dataclass(frozen=True, slots=True)
class Alone:
    """What became of a dollar a day in one gateway."""

    statuses: Tally[int]
    spent_nano: int
    """In all."""
    beyond_nano: int
    """By which the day on which most was spent has more than it may."""

    def document(self) -> dict[str, Any]:
        """For the result's file."""
        statuses = {str(one): self.statuses[one] for one in sorted(self.statuses)}
        return {"statuses": statuses, "spent_usd": self.spent_nano / DOLLAR, "beyond_usd": self.beyond_nano / DOLLAR}


def _one_more(
    house: House,
    at_once: int,
    bodies: Callable[[random.Random], bytes],
    engine: Mapping[str, Any],
    meanwhile: AbstractContextManager[None],
) -> Alone:
    """Another dollar for every day, all at once again."""
    before = _by_day(house)
    most = max(before.values()) + DOLLAR
    house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": most})
    with (
        run_engines(house, engine) as mocks,
        run_gateway(house, mocks, default_output_tokens=64, **MANY) as stack,
    ):
        stack.wait_revision()
        wait_until("the ledger to be read", lambda: _counter(stack, SPENDER).books_read)
        with meanwhile:
            statuses = asyncio.run(_all_at_once([stack.url], house.keys[SPENDER], at_once, bodies))
        counter = _counter(stack, SPENDER)
        wait_until("all requests to end", lambda: not counter.in_flight, DRAIN_S)
    after = _by_day(house)  # the gateway has brought all to the ledger when it has ended
    return Alone(statuses, sum(after.values()) - sum(before.values()), max(0, max(after.values()) - most))


def _by_day(house: House) -> dict[int, int]:
    """First millisecond of each day that a clock may have been at → nano-dollars of the ledger."""
    today_ms = day_of(now_ms())[0]
    days = range(today_ms - GLIMPSED_DAYS * DAY_MS, today_ms + GLIMPSED_DAYS * DAY_MS, DAY_MS)
    between, scope = house.registry.spending.between, f"tenant:{SPENDER}"
    return {starts_ms: between(starts_ms, starts_ms + DAY_MS).get(scope, Spent()).nano for starts_ms in days}


def _told(house: House, urls: Sequence[str], processes: int) -> dict[str, dict[str, int]]:
    """What every process says of the spender's budget, in nano-dollars; a connection meets one of several workers."""
    told: dict[str, dict[str, int]] = {}
    headers = {"Authorization": f"Bearer {admin_key(house.settings)}"}
    deadline_s = time.monotonic() + DRAIN_S
    while len(told) < processes and time.monotonic() < deadline_s:
        for url in urls:
            answer = httpx.get(f"{url}/admin/v1/budgets", headers=headers)
            for one in answer.raise_for_status().json()["budgets"]:
                if (one["scope"], one["unit"], one["window"]) == (f"tenant:{SPENDER}", "dollars", "daily"):
                    worker = one["here"].pop("worker")
                    told[worker] = {name: dollars_to_nano(amount, name) for name, amount in one["here"].items()}
    assert len(told) == processes, told
    return told


def _in_all(house: House) -> int:
    """Nano-dollars of this day, by the ledger."""
    return house.registry.spending.between(day_of(now_ms())[0], now_ms() + 1)[f"tenant:{SPENDER}"].nano


def _counter(stack: Stack, tenant: str) -> Counter:
    assert stack.gateway.house is not None
    counter = stack.gateway.house.limits.counter(f"tenant:{tenant}")
    assert counter is not None
    return counter


def _in_the_books(stack: Stack, tenant: str) -> Spent:
    since_ms = _counter(stack, tenant).month.starts_ms
    return stack.house.registry.spending.between(since_ms, now_ms() + 1).get(f"tenant:{tenant}", Spent())


def _drift(stack: Stack, counters: list[Counter]) -> int:
    """Nano-dollars and tokens that counters and ledger differ by."""
    drift = 0
    for tenant, counter in zip((SPENDER, LEAVER), counters, strict=True):
        spent = _in_the_books(stack, tenant)
        drift += abs(counter.month.nano - spent.nano) + abs(counter.month.tokens - spent.tokens)
    return drift


def _composed(chance: random.Random) -> bytes:
    """A chat that is almost all of its tokens itself."""
    text = LONGER_COMPOSED * chance.randrange(50, 150)
    return orjson.dumps({"model": "triage", "messages": [{"role": "user", "content": text}], "max_tokens": 1})


def _bodies(chance: random.Random) -> bytes:
    words = " ".join(
        chance.choice(("parcel", "late", "refund", "broken", "order")) for _ in range(chance.randrange(40))
    )
    body: dict[str, Any] = {"model": "triage", "messages": [{"role": "user", "content": words or "hello"}]}
    if chance.random() < 0.8:
        body["max_tokens"] = chance.randrange(1, 40)
    if chance.random() < 0.2:
        body["n"] = 2
    if chance.random() < 0.5:
        body["stream"] = True
    if chance.random() < 0.5:
        body["ignore_eos"] = True
    return orjson.dumps(body)


async def _ask(url: str, key: str, body: bytes, leave_after: int | None = None) -> bytes:
    """One request on a connection of its own, given up after so many bytes of its answer; these bytes."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        return await reader.read(-1 if leave_after is None else leave_after)
    finally:
        writer.close()


def _status(answer: bytes) -> int:
    return int(answer[9:12])


async def _insist(url: str, key: str, body: bytes) -> int:
    """As OpenAI's SDK does: a refusal that says so is tried again, twice. The last status."""
    for _ in range(RETRIES):
        answer = await _ask(url, key, body)
        if _status(answer) != 429 or b"x-should-retry: false" in answer:
            break
        await asyncio.sleep(1.0)
    else:
        answer = await _ask(url, key, body)
    return _status(answer)


async def _spend_until(stack: Stack, nano: int) -> int:
    """Ordinary requests until so much is spent; what it was in the end."""
    chance = random.Random(SEED)
    while (spent := _counter(stack, SPENDER).day.nano) < nano:
        await asyncio.gather(*(_ask(stack.url, stack.house.keys[SPENDER], _bodies(chance)) for _ in range(8)))
    return spent


async def _all_at_once(
    urls: Sequence[str], key: str, count: int, bodies: Callable[[random.Random], bytes] = _bodies
) -> Tally[int]:
    """Statuses of those that wait for their answers; beside every fifth of them comes one that does not."""
    chance = random.Random(SEED + 1)
    asked = [_insist(urls[number % len(urls)], key, bodies(chance)) for number in range(count)]
    left = [_leave(urls[number % len(urls)], key, bodies(chance)) for number in range(0, count, LEAVES_EVERY)]
    leaving = asyncio.gather(*left)
    statuses = await asyncio.gather(*asked)
    await leaving
    return Tally(statuses)


async def _leave(url: str, key: str, body: bytes) -> None:
    """A request that is given up before its answer, or after the first bytes of it."""
    with suppress(TimeoutError):
        await asyncio.wait_for(_ask(url, key, body, 64), PATIENCE_S)


async def _hang_up(stack: Stack, count: int) -> int:
    """So many requests that are given up; how many of them while they were being answered."""
    chance = random.Random(SEED + 2)
    left, in_the_middle, key = iter(range(count)), 0, stack.house.keys[LEAVER]

    async def client() -> None:
        nonlocal in_the_middle
        for _ in left:
            body = orjson.loads(_bodies(chance)) | {
                "stream": chance.random() < 0.7,
                "max_tokens": 400,
                "ignore_eos": True,
            }
            wait = asyncio.wait_for(_ask(stack.url, key, orjson.dumps(body), chance.choice((0, 64, 64))), PATIENCE_S)
            try:
                in_the_middle += bool(await wait)
            except TimeoutError:
                continue

    await asyncio.gather(*(client() for _ in range(ABORTS_AT_ONCE)))
    return in_the_middle
