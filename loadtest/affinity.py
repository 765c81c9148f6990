"""Zipf traffic over many adapters: how many adapter loads a way of spreading it costs, and what latency.

    python -m loadtest.affinity PLAN.json

The plan names the front doors: one gateway with all the engines behind it, or one for each engine, between which the
client goes round robin as an ordinary load balancer does. After a closed-loop warm-up, requests begin at the plan's
rate whatever becomes of them. Adapters and moments depend on the seed alone. Loads are counted by the mock engines. The
last line of stdout is one JSON document; exits 1 when a request failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import httpx

from loadtest.answers import read_answer
from loadtest.client import Client
from loadtest.figures import percentile, summary
from loadtest.traffic import request_of

TOKENS = 4
SUSTAINED = 0.95
"""The part of a closed loop's throughput at which an open loop is busy, and its queues still end."""
PROMPT = "Write one line about the refund of an order."


@dataclass(frozen=True, slots=True)
class Model:
    """An adapter and a key that opens it."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class AffinityPlan:
    """One arm of the comparison. `models` are in order of popularity."""

    doors: tuple[str, ...]
    engines: tuple[str, ...]
    models: tuple[Model, ...]
    requests: int
    warm_up: int
    """Requests before those that count."""
    concurrency: int = 8
    """Of the warm-up."""
    rate: float | None = None
    """Requests per second. None: `SUSTAINED` of what the warm-up came to, so as to find a rate for all arms."""
    seed: int = 0

    def write(self, path: Path) -> Path:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_plan(path: Path) -> AffinityPlan:
    """What `write` wrote."""
    fields = json.loads(path.read_text())
    models = tuple(Model(**model) for model in fields.pop("models"))
    return AffinityPlan(tuple(fields.pop("doors")), tuple(fields.pop("engines")), models, **fields)


def zipf(count: int, length: int, seed: int, exponent: float = 1.0) -> list[int]:
    """`length` draws from `count` ranks, of which rank n is 1/n^exponent as likely as rank 1."""
    weights = list(accumulate(1 / rank**exponent for rank in range(1, count + 1)))
    return random.Random(seed).choices(range(count), cum_weights=weights, k=length)


class Slots:
    """One engine's adapters as an ideal cache: the least recently used one leaves."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[int, None] = OrderedDict()

    def misses(self, adapter: int) -> bool:
        """Use an adapter; whether it had to be loaded."""
        missing = adapter not in self._held
        self._held[adapter] = None
        self._held.move_to_end(adapter)
        if len(self._held) > self._size:
            self._held.popitem(last=False)
        return missing


def ideal_loads(sequence: Sequence[int], warm_up: int, engines: int, slots: int, *, homes: bool) -> int:
    """Loads after the warm-up if one request followed the other: round robin, or each adapter at one home for ever.

    Homes are dealt out in order of popularity, so that every engine gets its share: no affinity can do better.
    """
    caches = [Slots(slots) for _ in range(engines)]
    loads = 0
    for number, adapter in enumerate(sequence):
        missed = caches[(adapter if homes else number) % engines].misses(adapter)
        loads += missed and number >= warm_up
    return loads


async def measure(plan: AffinityPlan) -> dict[str, Any]:
    """Warm up, then count: loads by all engines, latency in milliseconds, failures."""
    sequence = zipf(len(plan.models), plan.warm_up + plan.requests, plan.seed)
    turns = enumerate(sequence)
    async with AsyncExitStack() as stack:
        clients = {
            (door, key): await stack.enter_async_context(Client(door, key))
            for door in plan.doors
            for key in {model.key for model in plan.models}
        }
        began = time.perf_counter()
        warm = await _closed_loop(plan, clients, turns)
        rate = plan.rate or SUSTAINED * plan.warm_up / (time.perf_counter() - began)
        before = await _loads(plan.engines)
        counted = await _open_loop(plan, clients, turns, rate)
        loads = [after - earlier for after, earlier in zip(await _loads(plan.engines), before, strict=True)]
    times = [ms for ms, failure in counted if failure is None]
    failures = Counter(failure for _, failure in (*warm, *counted) if failure is not None)
    return {
        "requests": len(counted),
        "loads": sum(loads),
        "loads_per_1000": round(1_000 * sum(loads) / max(len(counted), 1), 1),
        "loads_by_engine": loads,
        "p95_ms": percentile(times, 95),
        "latency_ms": summary(times),
        "rate": round(rate, 1),
        "failures": failures.total(),
        "failure_examples": dict(failures.most_common(5)),
    }


Clients = Mapping[tuple[str, str], Client]
"""By front door and key."""
Turns = Iterator[tuple[int, int]]
"""Number of the request, and its adapter."""


async def _closed_loop(plan: AffinityPlan, clients: Clients, turns: Turns) -> list[tuple[float, str | None]]:
    first = iter(list(islice(turns, plan.warm_up)))

    async def user() -> list[tuple[float, str | None]]:
        return [await _ask(plan, clients, *turn) for turn in first]

    found = await asyncio.gather(*(user() for _ in range(plan.concurrency)))
    return [one for each in found for one in each]


async def _open_loop(plan: AffinityPlan, clients: Clients, turns: Turns, rate: float) -> list[tuple[float, str | None]]:
    draw, began, due = random.Random(plan.seed), time.perf_counter(), 0.0
    tasks = []
    for turn in turns:
        due += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        tasks.append(asyncio.create_task(_ask(plan, clients, *turn)))
    return await asyncio.gather(*tasks)


async def _ask(plan: AffinityPlan, clients: Clients, number: int, adapter: int) -> tuple[float, str | None]:
    """Milliseconds, and what was wrong."""
    model = plan.models[adapter]
    client = clients[plan.doors[number % len(plan.doors)], model.key]
    path, body = request_of(model.name, PROMPT, chat=True, stream=False, tokens=TOKENS)
    began, failure = time.perf_counter(), None
    try:
        reply = await client.post(path, body)
        failure = read_answer(reply.status, reply.body, stream=False).failure
    except OSError as error:
        failure = f"{type(error).__name__}: {error}"[:300]
    return (time.perf_counter() - began) * 1_000, failure


async def _loads(engines: Sequence[str]) -> list[int]:
    async with httpx.AsyncClient(timeout=5.0) as http:
        states = [(await http.get(f"{engine}/mock/state")).raise_for_status().json() for engine in engines]
    return [state["loads"] for state in states]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.affinity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plan", type=Path, help="an AffinityPlan as JSON")
    result = asyncio.run(measure(read_plan(parser.parse_args(arguments).plan)))
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
