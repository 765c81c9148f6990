"""What a running experiment costs a request: processor time of one gateway, asked for an adapter with and without."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from gateway.handoffs import Target as Named
from gateway.handoffs import Unit
from gateway.steps.assign import assign
from loadtest.overhead import Target
from registry.experiments.plan import Plan
from registry.names import parse_ref
from tests.against import cpu_us, interval, slices
from tests.bars.support.experiments import Part
from tests.bars.support.running import Running, running

TRIED, PLAIN = "acme/tried", "acme/triage"
PAIRS, LEAST_PAIRS, REQUESTS = 160, 6, 100
"""Slices of each adapter in turn, and requests of a slice."""
MOST_US = 10.0
CALLS = 20_000


def measure(folder: Path, scale: float) -> Part:
    """The median of the differences of pairs of slices, with the interval that has the true one in 95 of 100 cases."""
    with running(folder, "--answer-tokens", "50") as installation:
        _begin(installation)
        pairs = max(LEAST_PAIRS, int(PAIRS * min(1.0, scale)))
        _pinned(installation.gateway_pid)
        targets = [
            Target(installation.url, name, installation.house.keys["acme"], installation.gateway_pid)
            for name in (TRIED, PLAIN)
        ]
        on_path, plain = _differences(targets, pairs, _loop_us)
        in_all, _ = _differences(targets, pairs, cpu_us)
        step_us = _step(installation)
    least, most = interval(on_path)
    return Part(
        figures={
            "hot_path_us": round(median(on_path), 2),
            "assign_step_us": round(step_us, 2),
            "beside_path_us": round(median(in_all) - median(on_path), 2),
        },
        bars={},
        speed={f"an experiment costs a request {MOST_US:g} µs at most": median(on_path) <= MOST_US},
        detail={
            "hot_path_us_interval": [round(least, 2), round(most, 2)],
            "request_us": round(plain, 1),
            "pairs": pairs,
        },
    )


def _differences(targets: list[Target], pairs: int, clock: Callable[[int], float]) -> tuple[list[float], float]:
    """Microseconds of a request with the experiment beyond one without, by pair, and the median of those without."""
    tried, plain = asyncio.run(slices(targets, False, REQUESTS, pairs, clock))
    return [one - other for one, other in zip(tried, plain, strict=True)], median(plain)


def _loop_us(pid: int) -> float:
    """Microseconds that a process's first thread had a processor: requests are served there, and nothing else is done.

    What the others do is `beside_path_us`: answers that are looked at, usage that is shipped.
    """
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1_000


def _begin(installation: Running) -> None:
    """An experiment in which every question is asked: audience, holdout, arm."""
    house = installation.house
    for _ in range(2):
        house.publish(TRIED)
    house.promote(TRIED, "1.0")
    plan = {"treatments": ["1.1"], "ramp": [{"percent": 50}], "audience": {"percent": 99}, "holdout_percent": 1}
    made = house.registry.experiments.create(parse_ref(TRIED), Plan.of(plan), actor="bar")
    assert made.swap_id is not None
    assert house.finished(made.swap_id).state == "done"


def _pinned(gateway: int) -> None:
    """The gateway on a processor of its own, where there are two."""
    first, *others = sorted(os.sched_getaffinity(0))
    for thread in Path(f"/proc/{gateway}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {first})
    os.sched_setaffinity(0, set(others) or {first})


def _step(installation: Running) -> float:
    """Microseconds that the step `assign` takes more with the experiment than without, best of five."""
    catalog, best = installation.house.registry.catalog(), []
    unit = Unit("a-conversation-of-somebody", "header")
    for name in (TRIED, PLAIN):
        adapter = catalog.adapters["acme", name.partition("/")[2]]
        named = Named(name, None, None, adapter.aliases["production"], "production", adapter.splits.get("production"))
        took = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(CALLS):
                assign(named, unit, "key")
            took.append(time.process_time() - began)
        best.append(min(took) / CALLS * 1e6)
    return best[0] - best[1]
