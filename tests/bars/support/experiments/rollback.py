"""A canary that begins to fail, on a real gateway with two workers: how long it has traffic, how many units meet it.

The canary has 5 % of new units and nothing wrong; then 20 % of its answers are an engine's errors. `rollback_s` is from
then until the last worker gives it no traffic, `exposed_units` are the units that met it meanwhile. After that another
canary runs whose requests fail as often as the control's: nothing may be rolled back.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from gateway.engines.names import short_digest
from registry.db import now_ms
from registry.experiments.infos import ExperimentInfo
from registry.experiments.plan import Plan
from registry.names import parse_ref, parse_whole_adapter
from tests.bars.support.engines import engine_processes
from tests.bars.support.experiments import Part
from tests.bars.support.gateways import gateway_process
from tests.support.stack import CHAT, MESSAGES, House, open_house, proof
from tests.support.waiting import wait_until

NAME, WORKERS = "acme/triage", 2
WITHIN_S, MOST_EXPOSED = 60.0, 500
LEAD_S, GIVE_UP_S = 5.0, 120.0
PLAN: dict[str, Any] = {
    "ramp": [{"percent": 5, "dwell_s": 86_400, "min_units": 100_000}],
    "metric": {"name": "errors", "window_s": 60},
}
SAME_SHARE = 0.05
"""Of all requests that fail while both arms are alike."""


@dataclass(frozen=True, slots=True)
class Size:
    """New units a second, and how many of them while both arms fail alike."""

    rate: float
    alike: int


WHOLE, SMALL = Size(rate=80.0, alike=4_000), Size(rate=40.0, alike=400)


def measure(folder: Path, scale: float) -> Part:
    """Both experiments, one after the other."""
    size = WHOLE if scale >= 1 else SMALL
    with open_house(folder) as house, engine_processes(folder, 1, "--ttft-ms", "5") as engines:
        house.tenant("acme")
        for number in range(3):
            house.publish(NAME, proof=proof(seed=number))
        house.point(NAME, "1.0")
        with gateway_process(house.settings.state_dir, [engines[0].url], workers=WORKERS) as gateway:
            run = _Run(house, gateway.url, engines[0].url, size)
            return asyncio.run(run.measured())


class _Run:
    """Traffic of units that ask once, and what is seen meanwhile."""

    def __init__(self, house: House, gateway_url: str, engine_url: str, size: Size) -> None:
        self._house = house
        self._engine_url = engine_url
        self._size = size
        self._numbers = count()
        limits = httpx.Limits(max_connections=64)
        headers = {"Authorization": f"Bearer {house.keys['acme']}"}
        self._http = httpx.AsyncClient(base_url=gateway_url, headers=headers, limits=limits, timeout=30)

    async def measured(self) -> Part:
        """Everything."""
        async with self._http:
            broken = await asyncio.to_thread(self._begun, "1.1")
            rolled_back_s, exposed = await self._break(broken)
            alike = await asyncio.to_thread(self._begun, "1.2")
            rollbacks = await self._fail_alike(alike)
        last = self._house.registry.experiments.decisions(broken.id)[-1]
        return Part(
            figures={"rollback_s": round(rolled_back_s, 2), "exposed_units": exposed},
            bars={
                f"rolled back within {WITHIN_S:g} s": rolled_back_s <= WITHIN_S,
                f"at most {MOST_EXPOSED} exposed units": exposed <= MOST_EXPOSED,
                "nothing is rolled back where both arms fail alike": rollbacks == 0,
            },
            detail={"rollback": last.reason, "units_per_s": self._size.rate, "rollbacks_of_live_aa": rollbacks},
        )

    def _begun(self, version: str) -> ExperimentInfo:
        experiments = self._house.registry.experiments
        plan = Plan.of({**PLAN, "treatments": [version]})
        made = experiments.create(parse_whole_adapter(NAME), plan, actor="bar")

        def runs() -> ExperimentInfo | None:
            info = experiments.get(made.id)
            return info if info.state == "running" and not info.moving else None

        return wait_until("the experiment to run", runs)

    async def _break(self, info: ExperimentInfo) -> tuple[float, int]:
        """Seconds from the first injected failure to the last worker's acknowledgement, and units that met it."""
        stop = asyncio.Event()
        traffic = asyncio.create_task(self._ask(stop, None))
        await asyncio.sleep(LEAD_S)
        digest = self._house.registry.adapters.get(parse_ref(f"{NAME}@1.1")).manifest_digest
        await self._fault(fail_share=0.2, fail_share_with=short_digest(digest))
        since_ms = now_ms()
        experiments, swaps = self._house.registry.experiments, self._house.registry.swaps

        def over() -> int | None:
            found = experiments.get(info.id)
            if found.ended_at_ms is None or found.swap_id is None:
                return None
            return swaps.get(found.swap_id).detail.get("acknowledged_at_ms")

        ended_ms = await asyncio.to_thread(wait_until, "the rollback", over, GIVE_UP_S)
        stop.set()
        await traffic
        await self._fault(fail_share=0.0)
        met = {
            row["unit_hash"]
            for row in self._house.usage(arm="1.1")
            if row["split_id"] in info.splits and row["started_at_ms"] >= since_ms
        }
        return (ended_ms - since_ms) / 1000, len(met)

    async def _fail_alike(self, info: ExperimentInfo) -> int:
        await self._fault(fail_share=SAME_SHARE, fail_share_with="")
        await self._ask(asyncio.Event(), self._size.alike)
        waiting = self._house.registry.experiments.analysis.waiting
        await asyncio.to_thread(wait_until, "its attempts to be seen", lambda: waiting(info.id) == 0)
        log = self._house.registry.experiments.decisions(info.id)
        return sum(line.kind in ("rollback", "pause") for line in log)

    async def _ask(self, stop: asyncio.Event, most: int | None) -> None:
        """A new unit's request at each tick of the rate; slower where answers do not keep up."""
        tasks: set[asyncio.Task[None]] = set()
        began, sent = time.monotonic(), 0
        while not stop.is_set() and (most is None or sent < most):
            task = asyncio.create_task(self._one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / self._size.rate - time.monotonic()))
        await asyncio.gather(*tasks)

    async def _one(self) -> None:
        body = {"model": NAME, "messages": MESSAGES, "max_tokens": 4}
        await self._http.post(CHAT, json=body, headers={"X-Switchyard-Unit": f"unit {next(self._numbers)}"})

    async def _fault(self, **faults: Any) -> None:
        (await self._http.post(f"{self._engine_url}/mock/faults", json=faults)).raise_for_status()
