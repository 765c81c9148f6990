"""What a running experiment costs a request: processor time of one gateway, asked for an adapter with and without.

Each request is a conversation of its own, as nothing that is known of another one helps then. Its unit comes from where
a client can say it: `header` (X-Switchyard-Unit), `user` (an experiment by end users), or nowhere, so that it is
`derived` of the first turn. Every question of an experiment is asked: audience, holdout, arm. Beside them stands what
a split in halves costs that nobody decides on (`split`, in the detail): an experiment cannot cost less.

What a request costs on its way is told of pairs of slices, each of a hundredth of a second, as a shared machine is
twice as fast in one tenth as in the next: the median of the pairs' ratios, times what a request costs without. What is
done beside it (answers that are looked at, usage that is shipped) comes later, in bursts: that is told of blocks, each
with all that it leaves to be done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count, islice, takewhile
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson

from gateway.handoffs import Unit
from gateway.steps.assign import assign
from gateway.steps.authenticate import authenticate
from gateway.steps.resolve import resolve
from loadtest.client import Client
from loadtest.overhead import FORMS, PROMPT
from registry.experiments.plan import Plan
from registry.names import parse_ref
from tests.against import cpu_us, interval
from tests.bars.support.experiments import Part
from tests.bars.support.processors import apart
from tests.bars.support.running import Running, running

PLAIN = "acme/triage"
TRIED = {"derived": "acme/tried", "header": "acme/tried", "user": "acme/by-user"}
"""Adapters with an experiment, by where units come from."""
NOTHING, ALIKE = "nothing", "acme/alike"
"""An adapter without one, held against the other likewise: what is found there is the reading's own error."""
SPLIT, HALVES = "split", "acme/halves"
"""An adapter whose traffic is split, without an experiment; units come from a header."""
ASKED = {NOTHING: ALIKE, SPLIT: HALVES, **TRIED}
PAIRS, LEAST_PAIRS, REQUESTS, AT_ONCE = 720, 6, 16, 16
"""Slices of each adapter in turn, for each source of units; requests of a slice, and how many of them at once."""
BLOCKS, BLOCK_S, BEHIND_S = 4, 3.0, 2.5
"""Of each adapter in turn, and after which all that a block has left is done."""
MOST_US = 10.0
CALLS = 20_000


class Ended(NamedTuple):
    """Slices or blocks that took turns: with an experiment, and without."""

    tried: float
    plain: float


def measure(folder: Path, scale: float) -> Part:
    """Of the way for each source of units, and of what is done beside it."""
    with running(folder, "--answer-tokens", "50") as installation:
        installation.house.publish(ALIKE)
        installation.house.promote(ALIKE, "1.0")
        _two_versions(installation, HALVES)
        installation.house.split(HALVES, {"1.0": 5_000, "1.1": 5_000})
        for name, unit in (("acme/tried", "conversation"), ("acme/by-user", "end_user")):
            _begin(installation, name, unit)
        pairs = max(LEAST_PAIRS, int(PAIRS * min(1.0, scale)))
        blocks, block_s = (BLOCKS, BLOCK_S) if scale >= 1 else (1, BLOCK_S * scale)
        with apart(installation.gateway_pid, installation.engine_pid):
            found = {of: asyncio.run(_pairs(installation, of, pairs)) for of in ASKED}
            beside = asyncio.run(_blocks(installation, blocks, block_s))
        step_us = _step(installation)
    request_us = median(pair.plain for of in found.values() for pair in of)
    more = {of: [(pair.tried / pair.plain - 1) * request_us for pair in pairs] for of, pairs in found.items()}
    figures = {f"hot_path_{of}_us": round(median(more[of]), 2) for of in (NOTHING, *TRIED)}
    worst = max(TRIED, key=lambda of: figures[f"hot_path_{of}_us"])
    least, most = interval(more[worst])
    return Part(
        figures={
            **figures,
            "hot_path_us": figures[f"hot_path_{worst}_us"],
            "hot_path_least_us": round(least, 2),
            "hot_path_most_us": round(most, 2),
            "assign_step_us": round(step_us, 2),
            "beside_path_us": round(median(block.tried - block.plain for block in beside), 2),
        },
        bars={},
        speed={
            f"an experiment costs a request {MOST_US:g} µs at most, at the median of the pairs": (
                figures[f"hot_path_{worst}_us"] <= MOST_US
            )
        },
        detail={
            "hot_path_us_interval": {of: [round(end, 2) for end in interval(costs)] for of, costs in more.items()},
            "hot_path_split_us": round(median(more[SPLIT]), 2),
            "request_us": round(request_us, 1),
            "pairs": pairs,
            "beside_us": [[round(one, 1) for one in block] for block in beside],
        },
    )


async def _pairs(installation: Running, source: str, pairs: int) -> list[Ended]:
    """Microseconds of the process's first thread, on which requests are served, for each request of slices with the
    experiment and without, in turn. Raises RuntimeError when an answer is wrong.
    """
    numbers, found = count(), []
    async with AsyncExitStack() as stack:
        connect = [Client(installation.url, installation.house.keys["acme"]) for _ in range(2)]
        tried, plain = [await stack.enter_async_context(client) for client in connect]
        lanes = (tried, ASKED[source]), (plain, PLAIN)
        for number in range(-2, pairs):  # the first two warm up
            those = [*islice(numbers, REQUESTS)]
            took = []
            for client, name in lanes if number % 2 else reversed(lanes):
                before = _loop_us(installation.gateway_pid)
                await _ask(client, name, source, iter(those))
                took.append((_loop_us(installation.gateway_pid) - before) / REQUESTS)
            if number >= 0:
                found.append(Ended(*took) if number % 2 else Ended(*reversed(took)))
    return found


async def _blocks(installation: Running, blocks: int, block_s: float) -> list[Ended]:
    """Microseconds of all its other threads for each request of blocks, likewise."""
    numbers, found, pid = count(), [], installation.gateway_pid

    async def block(client: Client, name: str) -> float:
        until_s, before = time.monotonic() + block_s, cpu_us(pid) - _loop_us(pid)
        asked = await _ask(client, name, "derived", takewhile(lambda _: time.monotonic() < until_s, numbers))
        await asyncio.sleep(BEHIND_S)
        return (cpu_us(pid) - _loop_us(pid) - before) / asked

    async with Client(installation.url, installation.house.keys["acme"]) as client:
        for _ in range(blocks):
            found.append(Ended(await block(client, TRIED["derived"]), await block(client, PLAIN)))
    return found


async def _ask(client: Client, name: str, source: str, numbers: Iterator[int]) -> int:
    """One request of each number; how many there were. Raises RuntimeError when an answer is wrong."""
    form = FORMS["chat"]

    async def ask() -> int:
        asked = 0
        for number in numbers:
            reply = await client.post(form.path, *_request(name, source, number))
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {reply.body[:200]!r}")
            asked += 1
        return asked

    return sum(await asyncio.gather(*(ask() for _ in range(AT_ONCE))))


def _request(name: str, source: str, number: int) -> tuple[bytes, str]:
    """A body, and lines of headers. Both adapters are asked alike."""
    messages = [{"role": "user", "content": f"Order {number}. {PROMPT}"}]
    body: dict[str, Any] = {"model": name, "messages": messages, "temperature": 0, "max_tokens": 16}
    if source == "user":
        body["user"] = f"person-{number}"
    return orjson.dumps(body), f"X-Switchyard-Unit: conversation-{number}\r\n" if source in ("header", SPLIT) else ""


def _loop_us(pid: int) -> float:
    """Microseconds that a process's first thread had a processor: requests are served there, and nothing else."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1_000


def _begin(installation: Running, name: str, unit: str) -> None:
    """An experiment in which every question is asked."""
    house = installation.house
    _two_versions(installation, name)
    plan = {
        "treatments": ["1.1"],
        "ramp": [{"percent": 50}],
        "unit": unit,
        "audience": {"percent": 99},
        "holdout_percent": 1,
    }
    made = house.registry.experiments.create(parse_ref(name), Plan.of(plan), actor="bar")
    assert made.swap_id is not None
    assert house.finished(made.swap_id).state == "done"


def _two_versions(installation: Running, name: str) -> None:
    for _ in range(2):
        installation.house.publish(name)
    installation.house.promote(name, "1.0")


def _step(installation: Running) -> float:
    """Microseconds that the step `assign` takes more with the experiment than without, best of five, of units that are
    each asked once.
    """
    catalog, best = installation.house.registry.catalog(), []
    principal = authenticate(installation.house.keys["acme"], catalog)
    for name in (TRIED["derived"], PLAIN):
        target, took = resolve(principal, name, catalog), []
        for turn in range(5):
            units = [Unit(f"conversation-{turn}-{number}", "header") for number in range(CALLS)]
            began = time.process_time()
            for unit in units:
                assign(target, unit, "key")
            took.append(time.process_time() - began)
        best.append(min(took) / CALLS * 1e6)
    return best[0] - best[1]
