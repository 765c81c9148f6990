"""10,000 mixed requests on two mock engines: every client's count is its ledger row, and engines' counters the sum.

Streams and whole answers, several answers to a prompt, cached prompts, clients that leave at random points, requests
that an engine refuses with a 503 and another one answers, and now and then an engine that loses its adapters, so that
they are loaded and proven again. Then the gateway ends, which keeps a last reading, and the ledger is held against what
the engines counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gateway.cost.reconcile import Balance, Tokens, reconcile
from loadtest.spending import Mix, Purse, Spending, Spent, wishes
from registry.db import now_ms
from registry.service import Registry
from tests.bars.support.engines import EngineProcess, engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.stack import House, open_house, proof
from tests.support.waiting import wait_until

REQUESTS, CONCURRENCY, SEED = 10_000, 32, 11
TENANTS, ADAPTERS, PLACES = ("acme", "globex", "initech"), 3, 9
REFUSALS_EVERY = 50
"""Requests between two that the engine whose turn it is refuses."""
FORGOTTEN = 3
"""Times in a run that an engine loses all adapters, which then are loaded and proven again under traffic."""
STEPS_TO_STOP = 16
"""Tokens that an engine may make of a streamed answer, on average, between the last one that we saw and its end: at
2 ms a token, the time that closing a socket takes through two processes on two busy cores."""
QUIET_S = 30.0


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Spend, stop, compare."""
    with open_house(folder) as house:
        purses = [_fill(house, tenant) for tenant in TENANTS]
        options = ("--token-ms", "2", "--ttft-ms", "3", "--max-cpu-loras", str(PLACES), "--max-loras", str(PLACES))
        with engine_processes(folder, 2, *options) as engines:
            urls = [engine.url for engine in engines]
            with gateway_process(house.settings.state_dir, urls, engine_max_cpu_loras=PLACES) as gateway:
                began = time.monotonic()
                spent = _spend(gateway.url, engines, purses, max(300, int(REQUESTS * scale)))
                seconds = time.monotonic() - began
                wait_until("the engines to be idle", lambda: not any(_busy(engine) for engine in engines), QUIET_S)
        return judge(house.registry, spent, STEPS_TO_STOP, {"seconds": round(seconds, 1)})


def _fill(house: House, tenant: str) -> Purse:
    house.tenant(tenant)
    names = [f"{tenant}/task-{number}" for number in range(ADAPTERS)]
    for number, name in enumerate(names):
        house.publish(name, proof=proof(seed=TENANTS.index(tenant) * ADAPTERS + number))
        house.point(name, "1.0")
    return Purse(tenant, house.keys[tenant], tuple(name.partition("/")[2] for name in names))


def spend(
    url: str,
    concurrency: int,
    purses: Sequence[Purse],
    count: int,
    mix: Mix,
    every: Callable[[int], None] = lambda _sent: None,
) -> list[Spent]:
    """So many requests of these purses, so many at a time; `every` is told before each how many were sent."""
    return asyncio.run(Spending(url, concurrency, every).run(wishes(purses, count, mix, SEED)))


def _spend(url: str, engines: Sequence[EngineProcess], purses: Sequence[Purse], count: int) -> list[Spent]:
    """While engines refuse and forget."""
    with ThreadPoolExecutor(1) as pool:

        def refuse(sent: int) -> None:
            engine = engines[sent // REFUSALS_EVERY % len(engines)]
            if sent % REFUSALS_EVERY == REFUSALS_EVERY - 1:
                pool.submit(engine.fault, fail_next=[503])
            if sent % (count // FORGOTTEN) == count // FORGOTTEN // 2:
                pool.submit(engine.forget)

        return spend(url, CONCURRENCY, purses, count, Mix(), refuse)


def _busy(engine: EngineProcess) -> int:
    state = engine.state()
    return int(state["running"] + state["waiting"])


def judge(
    registry: Registry, spent: Sequence[Spent], steps_to_stop: int, detail: dict[str, Any], *, retries: bool = True
) -> dict[str, Any]:
    """Figures and bars. The gateway has ended, so all of its usage is in the ledger."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in registry.ledger.recent(len(spent) * 4):
        rows.setdefault(row["request_id"], []).append(row)
    finished = [one for one in spent if one.usage is not None]
    wrong = [one for one in finished if not booked_right(one, rows.get(one.request_id or "", []))]
    undercounted = [one for one in spent if one.seen_tokens > _most(rows.get(one.request_id or "", []))]
    balances = reconcile(registry.readings, 0, now_ms())
    overrun, unexplained = _all(balances, "abort_overrun"), _all(balances, "unexplained")
    bound = _overrun_bound(spent, steps_to_stop)
    broken = [one for one in spent if one.usage is None and not one.wish.leaves]
    figures = {
        "requests": len(spent),
        "per_request_mismatches": len(wrong) + len(undercounted),
        "unexplained_tokens": sum(abs(one.unexplained.prompt) + abs(one.unexplained.completion) for one in balances),
        "abort_overrun_tokens": overrun.total,
    }
    attempts = [row for some in rows.values() for row in some]
    parts = {name: _all(balances, name) for name in ("counted", "tenants", "reread", "system", "in_flight", "lost")}
    return {
        "figures": figures,
        "detail": {
            **detail,
            "finished": len(finished),
            "left": sum(one.wish.leaves for one in spent),
            "not_answered": len(broken),
            "retried": sum(len(some) > 1 for some in rows.values()),
            "outcomes": {name: sum(row["outcome"] == name for row in attempts) for name in _names(attempts)},
            "cached_tokens": sum(row["cached_tokens"] or 0 for row in attempts),
            "tokens": {name: [part.prompt, part.completion] for name, part in parts.items()},
            "abort_overrun": [overrun.prompt, overrun.completion],
            "abort_overrun_bound": [bound.prompt, bound.completion],
            "examples": [[one.request_id, one.usage, rows.get(one.request_id or "")] for one in wrong[:3]],
        },
        "bars": {
            "every finished request is booked as its client was told": not wrong and bool(finished),
            "what a client saw of an answer that it left is booked": not undercounted,
            "nothing is unexplained": bool(balances) and unexplained == Tokens() == parts["in_flight"] == parts["lost"],
            "what engines did after aborts is no more than aborts explain": overrun.within(bound) == overrun,
            "there was everything that the load should have": _mixed(attempts, parts["system"], retries=retries),
        },
    }


def booked_right(one: Spent, attempts: Sequence[dict[str, Any]]) -> bool:
    """One attempt was answered, and it has the client's count."""
    answered = [row for row in attempts if row["outcome"] == "ok"]
    if len(answered) != 1 or one.usage is None:
        return False
    row, usage = answered[0], one.usage
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    booked = (row["usage_source"], row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"])
    return booked == ("engine", usage["prompt_tokens"], usage["completion_tokens"], cached)


def _most(attempts: Sequence[dict[str, Any]]) -> int:
    return max((row["completion_tokens"] or 0 for row in attempts), default=0)


def _overrun_bound(spent: Sequence[Spent], steps_to_stop: int) -> Tokens:
    """The most that requests which were left can have cost after what was booked of them."""
    longest = max((one.usage["prompt_tokens"] for one in spent if one.usage), default=0)
    bound = Tokens()
    for one in spent:
        if not one.wish.leaves:
            continue
        most = one.wish.answers * one.wish.body["max_tokens"]
        streamed = one.wish.body.get("stream")
        made = min(most, one.wish.answers * steps_to_stop) if streamed else most
        bound += Tokens(longest * one.wish.answers, made)
    return bound


def _all(balances: Sequence[Balance], part: str) -> Tokens:
    return sum((getattr(one, part) for one in balances), Tokens())


def _names(attempts: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({row["outcome"] for row in attempts})


def _mixed(attempts: Sequence[dict[str, Any]], system: Tokens, *, retries: bool) -> bool:
    """Answers, aborts, cached prompts and probes; and retries, where engines were made to fail."""
    wanted = {"ok", "client_aborted"} | ({"engine_failed"} if retries else set())
    cached = any(row["cached_tokens"] for row in attempts)
    return wanted <= set(_names(attempts)) and cached and system.total > 0
