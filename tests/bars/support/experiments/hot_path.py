"""What a running experiment costs a request: processor time of one gateway, asked for an adapter with and without.

Each request is a conversation of its own, as nothing that is known of another one helps then. Its unit comes from where
a client can say it: `header` (X-Switchyard-Unit), `user` (an experiment by end users), or nowhere, so that it is
`derived` of the first turn. Every question of an experiment is asked: audience, holdout, arm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count, islice
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
PAIRS, LEAST_PAIRS, REQUESTS, AT_ONCE = 240, 6, 48, 16
"""Slices of each adapter in turn, for each source of units; requests of a slice, and how many of them at once."""
MOST_US = 10.0
CALLS = 20_000


class Cost(NamedTuple):
    """Processor time of a request, in microseconds."""

    loop: float
    """Of the process's first thread: requests are served there."""
    others: float
    """Of all other threads: answers that are looked at, usage that is shipped."""


def measure(folder: Path, scale: float) -> Part:
    """The median of the differences of pairs of slices, with the interval that has the true one in 95 of 100 cases."""
    with running(folder, "--answer-tokens", "50") as installation:
        installation.house.publish(ALIKE)
        installation.house.promote(ALIKE, "1.0")
        for name, unit in (("acme/tried", "conversation"), ("acme/by-user", "end_user")):
            _begin(installation, name, unit)
        pairs = max(LEAST_PAIRS, int(PAIRS * min(1.0, scale)))
        with apart(installation.gateway_pid, installation.engine_pid):
            found = {of: asyncio.run(_pairs(installation, of, pairs)) for of in (NOTHING, *TRIED)}
        step_us = _step(installation)
    on_path = {source: [tried.loop - plain.loop for tried, plain in pairs] for source, pairs in found.items()}
    beside = [tried.others - plain.others for tried, plain in found["derived"]]
    figures = {f"hot_path_{source}_us": round(median(more), 2) for source, more in on_path.items()}
    worst = max(figures[f"hot_path_{source}_us"] for source in TRIED)
    return Part(
        figures={
            **figures,
            "hot_path_us": worst,
            "assign_step_us": round(step_us, 2),
            "beside_path_us": round(median(beside), 2),
        },
        bars={},
        speed={f"an experiment costs a request {MOST_US:g} µs at most": worst <= MOST_US},
        detail={
            "hot_path_us_interval": {
                source: [round(end, 2) for end in interval(more)] for source, more in on_path.items()
            },
            "request_us": round(median(plain.loop for of in found.values() for _, plain in of), 1),
            "pairs": pairs,
        },
    )


async def _pairs(installation: Running, source: str, pairs: int) -> list[tuple[Cost, Cost]]:
    """Slices with the experiment and without, in turn. Raises RuntimeError when an answer is wrong."""
    numbers, found = count(), []
    async with AsyncExitStack() as stack:
        connect = [Client(installation.url, installation.house.keys["acme"]) for _ in range(2)]
        tried, plain = [await stack.enter_async_context(client) for client in connect]
        other = TRIED.get(source, ALIKE)
        lanes = (tried, other), (plain, PLAIN)
        for number in range(-2, pairs):  # the first two warm up
            those = [*islice(numbers, REQUESTS)]
            costs = {}
            for client, name in lanes if number % 2 else reversed(lanes):
                costs[name] = await _slice(client, name, source, those, installation.gateway_pid)
            if number >= 0:
                found.append((costs[other], costs[PLAIN]))
    return found


async def _slice(client: Client, name: str, source: str, numbers: Sequence[int], pid: int) -> Cost:
    form, waiting = FORMS["chat"], iter([_request(name, source, number) for number in numbers])

    async def ask() -> None:
        for body, lines in waiting:
            reply = await client.post(form.path, body, lines)
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {reply.body[:200]!r}")

    loop_us, in_all_us = _loop_us(pid), cpu_us(pid)
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    loop_us, in_all_us = _loop_us(pid) - loop_us, cpu_us(pid) - in_all_us
    return Cost(loop_us / len(numbers), (in_all_us - loop_us) / len(numbers))


def _request(name: str, source: str, number: int) -> tuple[bytes, str]:
    """A body, and lines of headers. Both adapters are asked alike."""
    messages = [{"role": "user", "content": f"Order {number}. {PROMPT}"}]
    body: dict[str, Any] = {"model": name, "messages": messages, "temperature": 0, "max_tokens": 16}
    if source == "user":
        body["user"] = f"person-{number}"
    return orjson.dumps(body), f"X-Switchyard-Unit: conversation-{number}\r\n" if source == "header" else ""


def _loop_us(pid: int) -> float:
    """Microseconds that a process's first thread had a processor: requests are served there, and nothing else is done.

    What the others do is `beside_path_us`: answers that are looked at, usage that is shipped.
    """
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1_000


def _begin(installation: Running, name: str, unit: str) -> None:
    """An experiment in which every question is asked."""
    house = installation.house
    for _ in range(2):
        house.publish(name)
    house.promote(name, "1.0")
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
