"""Swaps under more than 10,000 requests on two mock engines with two gateway workers.

Eight versions of one adapter, promoted one after the other under open-loop traffic, half of it streams: each has to be
loaded and proven. 0 failures, 0 answers of a version that had been replaced when the request arrived, p99 of all swaps'
windows against the seconds before them, and the slowest cut-over.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.records import Ask, Plan
from loadtest.swap_bench import SwapTimes, report
from registry.swaps.infos import DONE, SwapInfo
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.bars.support.load import Busy, traffic
from tests.support.stack import House, open_house, proof

ENGINES, WORKERS = 2, 2
LEAD_S, BETWEEN_S = 2.0, 1.75
NAME = "acme/triage"
P99_LIMIT, CUTOVER_LIMIT_S = 1.5, 1.0


@dataclass(frozen=True, slots=True)
class Size:
    """Of one run; `rate` is requests a second, and leaves two cores about half idle."""

    swaps: int
    requests: int
    rate: float


WHOLE, SMALL = Size(swaps=8, requests=11_000, rate=200.0), Size(swaps=2, requests=550, rate=100.0)


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Traffic in a process of its own, swaps one after the other."""
    size = WHOLE if scale >= 1 else SMALL
    with open_house(folder) as house, engine_processes(folder, ENGINES, "--ttft-ms", "5", "--token-ms", "2") as engines:
        house.tenant("acme")
        for number in range(size.swaps + 1):
            house.publish(NAME, proof=proof(seed=number))
        house.point(NAME, "1.0")
        urls = [engine.url for engine in engines]
        with gateway_process(house.settings.state_dir, urls, workers=WORKERS, catalog_poll_s=0.2) as gateway:
            figures = _measure(folder, house, gateway, size)
    at_least = round(size.requests / 1.1)
    return {
        "figures": figures,
        "bars": {
            f"at least {at_least} requests": figures["requests"] >= at_least,
            "0 failed": figures["failed"] == 0,
            "0 answers of a replaced version": figures["stale"] == 0,
        },
        "speed": {
            f"p99 at most {P99_LIMIT} times that before": figures["p99_ratio"] <= P99_LIMIT,
            f"cut-over within {CUTOVER_LIMIT_S:g} s of the flip": figures["cutover_s"] <= CUTOVER_LIMIT_S,
        },
    }


def _measure(folder: Path, house: House, gateway: GatewayProcess, size: Size) -> dict[str, Any]:
    seconds = max(size.requests / size.rate, LEAD_S + size.swaps * (BETWEEN_S + 1.5))
    ask = Ask("acme", house.keys["acme"], NAME)
    plan = Plan(gateway.url, size.rate, seconds, (ask,), ("Write one line about the refund.",), retries=0)
    done = []
    with traffic(folder, plan) as records:
        time.sleep(LEAD_S)
        busy = Busy()
        for number in range(1, size.swaps + 1):
            done.append(times_of(house.promote(NAME, f"1.{number}")))
            time.sleep(BETWEEN_S)
        used = busy.percent()
    figures: dict[str, Any] = report(records, done)
    figures["detail"] |= {"cpu_percent": used, "cores": os.cpu_count(), "requests_per_s": size.rate}
    return figures


def times_of(swap: SwapInfo) -> SwapTimes:
    """A finished swap's times. Raises RuntimeError for one that failed, or that some worker did not acknowledge."""
    detail = swap.detail
    if swap.state != DONE or "acknowledged_at_ms" not in detail or swap.finished_at_ms is None:
        raise RuntimeError(f"swap {swap.id} is {swap.state}: {detail}")
    # Registry times are cut to milliseconds: what arrived within the last one had not seen the acknowledgement.
    return SwapTimes(
        detail["from"],
        swap.to_version,
        swap.requested_at_ms / 1_000,
        detail["flipped_at_ms"] / 1_000,
        (detail["acknowledged_at_ms"] + 1) / 1_000,
        swap.finished_at_ms / 1_000,
    )
