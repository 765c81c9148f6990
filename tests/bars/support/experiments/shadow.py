"""Copies of requests at 10 % on an engine whose queue is full: the tenant's own requests wait no longer for them.

One gateway and one mock engine, processes of their own. Slices with a shadow and without one take turns in one run, so
that the machine's moods fall on both; what is told is the median of the pairs' ratios, with the interval that has the
true one in 95 of 100 cases. `full` are three times as many clients as the engine has places, each sending its next
request as soon as it is answered; `calm` are half as many as places, where copies do run: what that costs is shown and
held against nothing, as the bar is about engines that are full.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.client import Client
from registry.db import now_ms
from registry.ledger.usage_report import report_usage
from registry.names import parse_ref
from registry.shadows.pairs import PAIRED
from registry.shadows.store import ShadowInfo
from registry.shadows.summary import quantile
from registry.shadows.terms import Terms
from tests.against import interval
from tests.bars.support.engines import EngineProcess, engine_processes
from tests.bars.support.experiments import Part
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import CHAT, MESSAGES, House, open_house
from tests.support.waiting import wait_until

PLACES, TOKENS, TOKEN_MS = 8, 40, 5.0
SHARE = 1_000
"""Of the requests that are copied, in 1/10,000."""
SLICES, CALM_SLICES, SLICE_S, LEAST_SLICES, LEAST_S = 24, 8, 8.0, 2, 3.0
WARM_S = 2.0
"""At the begin of each slice that are not counted: the queue fills, and workers learn of the shadow."""
MOST_RATIO = 1.02
HOUR_MS = 3_600_000
WITH = {"without": False, "with": True}
CLIENTS = {"full": 3 * PLACES, "calm": PLACES // 2}


@dataclass(frozen=True, slots=True)
class Site:
    """What is measured."""

    house: House
    gateway: GatewayProcess
    engine: EngineProcess
    slices: int
    slice_s: float


def measure(folder: Path, scale: float) -> Part:
    """Both loads."""
    slices = max(LEAST_SLICES, 2 * round(SLICES * min(1.0, scale) / 2))
    slice_s = SLICE_S if scale >= 1 else LEAST_S
    options = ("--max-num-seqs", str(PLACES), "--max-cpu-loras", "8")
    with open_house(folder) as house, engine_processes(folder, 1, *options) as (engine,):
        house.tenant("acme")
        house.publish("acme/triage")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.registry.tenants.change("acme", {"shadow_consent": True})
        house.registry.tariffs.add("tenant:acme", input_dollars="1", output_dollars="2", source="the bar")
        engine.fault(token_ms=TOKEN_MS)
        with gateway_process(house.settings.state_dir, [engine.url], request_log="off") as gateway:
            site = Site(house, gateway, engine, slices, slice_s)
            found = {
                "full": _measured(site, CLIENTS["full"]),
                "calm": _measured(replace(site, slices=min(slices, CALM_SLICES)), CLIENTS["calm"]),
            }
        billed, copies = _bill(house)
    full = found["full"]
    return Part(
        figures={
            "shadow_p95_ratio": full["p95_ratio"],
            "shadow_p95_least": full["p95_least"],
            "shadow_p95_most": full["p95_most"],
            "shadow_orphans_unexplained": sum(one["unexplained"] for one in found.values()),
            "shadow_billed_nano": billed,
        },
        bars={
            "every request that was to be copied is a pair, or counted with its cause": all(
                one["unexplained"] == 0 and one["to_copy"] > 0 for one in found.values()
            ),
            "copies run where the engine has places": found["calm"]["counts"].get(PAIRED, 0) > 0,
            "no copy is on the tenant's bill": billed == 0 and copies > 0,
            "no request fails": all(one["failed"] == 0 for one in found.values()),
        },
        speed={f"p95 to the first byte at most {MOST_RATIO:g} times that without": full["p95_ratio"] <= MOST_RATIO},
        detail={"shadow": {**found, "slices": slices, "slice_s": slice_s, "places": PLACES, "share": SHARE / 10_000}},
    )


def _measured(site: Site, clients: int) -> dict[str, Any]:
    """Slices without and with the shadow, in turns."""
    first_ms: dict[bool, list[list[float]]] = {False: [], True: []}
    failed, shadows = 0, []
    for on in itertools.islice(_turns(), site.slices):
        shadow = _begin(site) if on else None
        taken, lost = asyncio.run(_load(site, clients))
        first_ms[on].append(sorted(taken))
        failed += lost
        if shadow is not None:
            shadows.append(_ended(site, shadow))
    counts: Counter[str] = Counter()
    for one in shadows:
        counts.update(one.counts)
    return {
        "requests": {name: sum(map(len, first_ms[on])) for name, on in WITH.items()},
        "p50_ms": {name: _median(first_ms[on], 0.5) for name, on in WITH.items()},
        "p95_ms": {name: _median(first_ms[on], 0.95) for name, on in WITH.items()},
        **_ratio("p50", first_ms, 0.5),
        **_ratio("p95", first_ms, 0.95),
        "counts": dict(counts),
        "to_copy": counts.total(),
        "unexplained": counts[""] + sum(_unpaired(site.house, one) for one in shadows),
        "failed": failed,
    }


def _median(slices: Sequence[Sequence[float]], level: float) -> float:
    """Of the slices' own quantiles."""
    return round(median(quantile(times, level) or 0.0 for times in slices), 2)


def _ratio(name: str, first_ms: Mapping[bool, Sequence[Sequence[float]]], level: float) -> dict[str, float]:
    """With copies by without: the median of the pairs of slices, and its interval."""
    copied, plain = ([quantile(times, level) or 1.0 for times in first_ms[on]] for on in (True, False))
    ratios = [one / other for one, other in zip(copied, plain, strict=True)]
    least, most = interval(ratios)
    figures = {"ratio": median(ratios), "least": least, "most": most}
    return {f"{name}_{what}": round(value, 4) for what, value in figures.items()}


def _turns() -> Iterator[bool]:
    """Off, on, on, off, …: neither is always the first."""
    return itertools.cycle((False, True, True, False))


def _begin(site: Site) -> ShadowInfo:
    terms = Terms(SHARE, HOUR_MS, requests_per_day=1_000_000)
    return site.house.registry.shadows.begin(parse_ref("acme/triage@1.1"), terms, actor="bar")


def _ended(site: Site, shadow: ShadowInfo) -> ShadowInfo:
    """The shadow when everything that came of it is written down."""
    shadows = site.house.registry.shadows
    shadows.end(shadow.id, why="the slice is over")
    site.house.registry.wait_until_served()
    before = -1

    def settled() -> ShadowInfo | None:
        nonlocal before
        found = shadows.get(shadow.id)
        number, before = before, sum(found.counts.values())
        time.sleep(1.5)  # longer than between two writings
        return found if number == before else None

    return wait_until("the counts", settled)


async def _load(site: Site, clients: int) -> tuple[list[float], int]:
    """Milliseconds to first bytes after the warm-up, and how many requests failed."""
    body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": TOKENS, "min_tokens": TOKENS, "stream": True}
    asked, taken, failed = json.dumps(body).encode(), list[float](), 0
    began_s = time.perf_counter()
    ends_s = began_s + WARM_S + site.slice_s

    async def one(client: Client) -> None:
        nonlocal failed
        while (now_s := time.perf_counter()) < ends_s:
            try:
                reply = await client.post(CHAT, asked)
            except OSError:
                failed += 1
                continue
            failed += reply.status != 200
            if now_s - began_s >= WARM_S:
                taken.append(reply.first_byte_s * 1000)

    async with Client(site.gateway.url, site.house.keys["acme"]) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return taken, failed


def _unpaired(house: House, shadow: ShadowInfo) -> int:
    """Copies in the ledger that no pair has, and pairs whose copy it does not have."""
    end_ms = shadow.ended_at_ms or now_ms()
    sent = {
        row["request_id"]
        for row in house.registry.ledger.recent(1_000_000)
        if row["shadow"] and shadow.started_at_ms <= row["started_at_ms"] <= end_ms
    }
    return len(sent ^ {pair.request_id for pair in house.registry.pairs.all(shadow.id)})


def _bill(house: House) -> tuple[int, int]:
    """What copies have added to the tenant's spending, and how many copies the ledger has."""
    lines = {line.name: line for line in report_usage(house.registry.db, "tenant", until_ms=now_ms() + 1).lines}
    copies = lines.get("acme (shadow)")
    spent = house.registry.spending.between(0, now_ms() + 1)["tenant:acme"].nano
    return spent - (lines["acme"].cost_nano or 0), 0 if copies is None else copies.attempts
