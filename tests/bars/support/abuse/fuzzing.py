"""Very many broken requests, sent by a process of their own, and how the gateway's memory goes meanwhile."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bars.support.abuse.attacker import yield_as_another_machine
from tests.bars.support.abuse.memory import resident_mb, slope
from tests.support.fuzzed_requests import Fuzzer, fire

AT_ONCE, LOOK_S, LONGEST_S = 16, 0.25, 600.0
OVER = 100_000


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What came of them."""

    count: int
    seed: int
    server_errors: int
    slope_mb: float | None
    """By which the gateway grows in 100,000; `None` of a few."""
    samples: Sequence[tuple[float, float]]
    said: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """For the result's file."""
        thinned = self.samples[:: max(1, len(self.samples) // 20)]
        return {"seed": self.seed, **self.said, "rss_mb": [[round(count), round(mb, 1)] for count, mb in thinned]}


def fuzzed(url: str, pid: int, key: str, models: Sequence[str], count: int, seed: int) -> Fuzzed:
    """Send so many. Raises `RuntimeError` when they have no end."""
    context = multiprocessing.get_context("spawn")
    done, results = context.Value("L", 0), context.SimpleQueue()
    process = context.Process(target=_fire, args=(url, key, list(models), count, seed, done, results), daemon=True)
    process.start()
    samples: list[tuple[float, float]] = []
    for _ in range(int(LONGEST_S / LOOK_S)):
        samples.append((float(done.value), resident_mb(pid)))
        process.join(LOOK_S)
        if not process.is_alive():
            break
    else:
        process.kill()
        raise RuntimeError(f"seed {seed}: {done.value} of {count} broken requests were answered")
    said = results.get()
    return Fuzzed(count, seed, said.pop("server_errors"), slope(samples, OVER), samples, said)


def _fire(url: str, key: str, models: list[str], count: int, seed: int, done: Any, results: Any) -> None:
    yield_as_another_machine()

    def one_more() -> None:
        done.value += 1

    volley = asyncio.run(fire(url, Fuzzer(random.Random(seed), [(key, models)]).shots(count), AT_ONCE, one_more))
    results.put(
        {
            "server_errors": volley.server_errors,
            "faults": {name: repr(shot[:400]) for name, shot in volley.faults.items()},
            "unanswered": volley.unanswered,
            "statuses": {str(status): number for status, number in sorted(volley.statuses.items())},
            "honest": dict(volley.honest),
        }
    )
