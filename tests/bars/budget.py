"""1,000 concurrent requests with $1 left, and 10,000 aborted ones: no dollar too many, no hold left, the books agree.

First one gateway of one worker. There comes all at once what costs many times the dollar that is left of the day's
budget: streams and whole answers, several answers to a prompt, with and without max_tokens. Then clients hang up:
before the answer, and in the middle of it. Once all is settled, nothing may be held, and the gateway's counters must
say what the ledger says, to the nano-dollar and the token. Then the same dollar in front of a gateway with two workers,
which divide it: there the ledger alone is asked what was spent. (At a smaller scale this part is left out.)
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter as Tally
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from gateway.cost.counters import Counter
from registry.db import now_ms
from registry.spending import Spent
from tests.bars.support.gateways import gateway_process
from tests.gateway.stack import CHAT, House, Stack, open_house, run_engines, run_gateway, wait_until

AT_ONCE, ABORTS, ABORTS_AT_ONCE, RETRIES, SEED = 1_000, 10_000, 16, 2, 5
PATIENCE_S = 0.3
"""After which a client hangs up that has heard nothing."""
DOLLAR = 1_000_000_000
SPENDER, LEAVER = "acme", "globex"
DRAIN_S = 60.0
MANY = {"max_in_flight": 4_096, "max_in_flight_per_tenant": 2_048, "engine_max_in_flight": 2_048}


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
            with run_gateway(house, mocks, default_output_tokens=64, **MANY) as stack:
                house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": 2 * DOLLAR, "daily_tokens": 10**9})
                house.registry.limits.set(
                    f"tenant:{LEAVER}", {"monthly_nano": 10**6 * DOLLAR, "tokens_per_minute": 10**10}
                )
                stack.wait_revision()
                wait_until(
                    "the ledger to be read", lambda: all(_counter(stack, one).books_read for one in (SPENDER, LEAVER))
                )
                already = asyncio.run(_spend_until(stack, DOLLAR // 5))
                house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": already + DOLLAR})
                stack.wait_revision()
                statuses = asyncio.run(_all_at_once(stack.url, house.keys[SPENDER], at_once))
                left = asyncio.run(_hang_up(stack, aborts))
                counters = [_counter(stack, tenant) for tenant in (SPENDER, LEAVER)]
                wait_until("all requests to end", lambda: not any(one.in_flight for one in counters), DRAIN_S)
                leaked = sum(bool(one.in_flight or one.held_nano or one.held_tokens) for one in counters)
                wait_until("the ledger to have it all", lambda: _drift(stack, counters) == 0 or None, DRAIN_S)
                drift = _drift(stack, counters)
            spent = _in_the_books(stack, SPENDER).nano
            of_two, two = _two_workers(house, mocks[0].url, at_once) if scale >= 1 else (0, Tally[int]())
    overshoot = max(0, spent - already - DOLLAR, of_two - DOLLAR) / DOLLAR
    return {
        "figures": {"overshoot_usd": overshoot, "leaked": leaked, "drift": drift},
        "bars": {
            "no more is spent than there is": overshoot == 0,
            "no hold is left": leaked == 0,
            "counters are what the ledger says": drift == 0,
            "more than half of the dollar is spent": spent - already > DOLLAR // 2,
            "what is not served is a 429": set(statuses) | set(two) == {200, 429},
        },
        "detail": {
            "at_once": at_once,
            "statuses": {str(status): count for status, count in sorted(statuses.items())},
            "spent_of_the_last_dollar_usd": (spent - already) / DOLLAR,
            "of_two_workers": {"statuses": {str(one): two[one] for one in sorted(two)}, "spent_usd": of_two / DOLLAR},
            "aborts": aborts,
            "aborted_in_the_middle": left,
        },
    }


def _two_workers(house: House, engine_url: str, at_once: int) -> tuple[int, Tally[int]]:
    """What a gateway with two workers spends of another dollar, and how it answers."""
    before = house.registry.spending.between(0, now_ms() + 1)[f"tenant:{SPENDER}"].nano
    house.registry.limits.set(f"tenant:{SPENDER}", {"daily_nano": before + DOLLAR})
    with gateway_process(
        house.settings.state_dir, [engine_url], workers=2, default_output_tokens=64, **MANY
    ) as gateway:
        statuses = asyncio.run(_all_at_once(gateway.url, house.keys[SPENDER], at_once))
    return house.registry.spending.between(0, now_ms() + 1)[f"tenant:{SPENDER}"].nano - before, statuses


def _counter(stack: Stack, tenant: str) -> Counter:
    assert stack.gateway.house is not None
    counter = stack.gateway.house.limits.counter(f"tenant:{tenant}")
    assert counter is not None
    return counter


def _in_the_books(stack: Stack, tenant: str) -> Spent:
    since_ms = _counter(stack, tenant).since_ms
    return stack.house.registry.spending.between(since_ms, now_ms() + 1).get(f"tenant:{tenant}", Spent())


def _drift(stack: Stack, counters: list[Counter]) -> int:
    """Nano-dollars and tokens that counters and ledger differ by."""
    drift = 0
    for tenant, counter in zip((SPENDER, LEAVER), counters, strict=True):
        spent = _in_the_books(stack, tenant)
        drift += abs(counter.month.nano - spent.nano) + abs(counter.month.tokens - spent.tokens)
    return drift


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


async def _all_at_once(url: str, key: str, count: int) -> Tally[int]:
    chance = random.Random(SEED + 1)
    return Tally(await asyncio.gather(*(_insist(url, key, _bodies(chance)) for _ in range(count))))


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
