"""One tenant's large bodies beside another tenant's small requests: what is refused costs the others next to nothing.

Mallory has one request a minute, and sends bodies of 4 MB of nested lists over 12 connections, each again as soon as
it is answered. Alice asks for short answers one after the other: before, and meanwhile.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.stack import CHAT, MESSAGES, open_house

BODY_BYTES, CONNECTIONS, ASKED = 4_000_000, 12, 2_000
MOST_ADDED_MS = 5.0


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Alice's times without and with Mallory."""
    asked = int(ASKED * scale)
    with open_house(folder) as house, engine_processes(folder, 1) as (engine,):
        for name in ("alice", "mallory"):
            house.tenant(name)
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
        house.registry.limits.set("tenant:mallory", {"requests_per_minute": 1})
        with gateway_process(house.settings.state_dir, [engine.url]) as gateway:
            url = f"{gateway.url}{CHAT}"
            _ask(url, house.keys["alice"], asked // 4)
            calm = _ask(url, house.keys["alice"], asked)
            with _attack(url, house.keys["mallory"]) as answers:
                attacked = _ask(url, house.keys["alice"], asked)
    times_ms = [[took_ms for status, took_ms in answered if status == 200] for answered in (calm, attacked)]
    added_ms = median(times_ms[1]) - median(times_ms[0])
    figures = {
        "p50_ms": round(median(times_ms[0]), 2),
        "p50_attacked_ms": round(median(times_ms[1]), 2),
        "p99_attacked_ms": round(sorted(times_ms[1])[len(times_ms[1]) * 99 // 100], 2),
        "attacks": sum(answers.values()),
        "attacks_by_status": dict(answers),
    }
    return {
        "figures": figures,
        "bars": {
            "none of the other tenant's requests fails": all(status == 200 for status, _ in calm + attacked),
            "the attacker is refused, and was let through for its one request at most": answers[429] > 0
            and sum(count for status, count in answers.items() if status != 429) <= 2 * CONNECTIONS,
        },
        "speed": {f"the other tenant's p50 grows by at most {MOST_ADDED_MS:g} ms": added_ms <= MOST_ADDED_MS},
    }


def _ask(url: str, key: str, times: int) -> list[tuple[int, float]]:
    """Status and milliseconds of so many requests, one after the other."""
    body = {"model": "triage", "messages": MESSAGES, "max_tokens": 1}
    answered = []
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        for _ in range(times):
            began_s = time.perf_counter()
            status = http.post(url, json=body).status_code
            answered.append((status, (time.perf_counter() - began_s) * 1000))
    return answered


@contextmanager
def _attack(url: str, key: str) -> Iterator[Counter[int]]:
    """Attack from another process while the block runs; the counter then says what was answered, 0 for nothing."""
    context = multiprocessing.get_context("spawn")
    ends, begun, results = context.Event(), context.Event(), context.SimpleQueue()
    attacker = context.Process(target=_attacker, args=(url, key, begun, ends, results), daemon=True)
    attacker.start()
    answers: Counter[int] = Counter()
    try:
        assert begun.wait(60)
        yield answers
    finally:
        ends.set()
        answers.update(results.get())
        attacker.join()


def _attacker(url: str, key: str, begun: Event, ends: Event, results: Any) -> None:
    lists = b"[" + b"[[],[]]," * (BODY_BYTES // 8) + b"[]]"
    body = b'{"model":"triage","messages":[{"role":"user","content":"x"}],"prompt_cache_options":' + lists + b"}"

    def send(_: int) -> Counter[int]:
        found: Counter[int] = Counter()
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            while not ends.is_set():
                try:
                    found[http.post(url, content=body).status_code] += 1
                except httpx.HTTPError:
                    found[0] += 1
                begun.set()
        return found

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        results.put(sum(pool.map(send, range(CONNECTIONS)), Counter()))
