"""Adapter loads and p95 latency under Zipf(1.0) traffic on four engines, against round robin, in one run.

200 adapters, a load stalls its engine for 30 ms, once with 8 and once with 32 adapters per engine. Both arms are this
gateway and the same sequence of requests: one gateway in front of all engines, or a gateway in front of each and a
client that goes round robin over them, which is what an ordinary load balancer does. Both get the same requests at the
same moments, at a rate that round robin just sustains. (With engines that are half idle, p95 at 8 slots is the time of
one load in either arm: fewer loads show in p95 only where loads queue.) Engines and gateways are threads of this
process, on real sockets; the client is a process of its own.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.admin_key import known_admin_key
from gateway.app import Gateway
from gateway.settings import EngineSettings, GatewaySettings
from loadtest.affinity import AffinityPlan, Model, ideal_loads, zipf
from loadtest.ports import free_port
from tests.bars.support.commands import last_json
from tests.bars.support.many import publish_many
from tests.support.stack import House, open_house, run_engines, served
from tests.support.waiting import wait_until

ENGINES, TENANTS, SEED = 4, 4, 7
SLOTS = (8, 32)
"""Adapters that an engine can hold for traffic."""
LIMITS = (0.65, 0.30)
"""The most loads at each, as a part of round robin's."""
PLACES_WE_KEEP = 2
"""The gateway keeps a place free for a swap and, for the CPU engine, one for the zero adapter."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. `shrink` divides adapters and places alike, so that the traffic is much the same."""

    requests: int
    warm_up: int
    concurrency: int
    load_stall_ms: float
    shrink: int

    @property
    def adapters(self) -> int:
        return 200 // self.shrink


WHOLE = Size(requests=3_000, warm_up=1_000, concurrency=8, load_stall_ms=30, shrink=1)
SMALL = Size(requests=100, warm_up=60, concurrency=2, load_stall_ms=10, shrink=4)
"""For `make test`: seconds, bars half way between perfect affinity and none, and none for p95, which is noise here."""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Both arms with few and with many places."""
    size = WHOLE if scale >= 1 else SMALL
    ratios, limits, p95_ratios, failures = [], [], [], 0
    detail: dict[str, Any] = {"adapters": size.adapters, "concurrency": size.concurrency, "warm_up": size.warm_up}
    with open_house(folder) as house:
        published, _ = publish_many(house, TENANTS, size.adapters)
        models = tuple(Model(adapter.name, house.keys[adapter.tenant]) for adapter in published)
        for full_slots, limit in zip(SLOTS, LIMITS, strict=True):
            slots = full_slots // size.shrink
            theirs = _measure(folder / f"theirs-{slots}", house, size, slots, models, each=True, rate=None)
            ours = _measure(folder / f"ours-{slots}", house, size, slots, models, each=False, rate=theirs["rate"])
            arms = {"round_robin": theirs, "switchyard": ours}
            perfect = _perfect(size, slots)
            ratios.append(round(ours["loads"] / theirs["loads"], 3))
            limits.append(limit if size is WHOLE else round((1 + perfect["ratio"]) / 2, 3))
            p95_ratios.append(round(ours["p95_ms"] / theirs["p95_ms"], 3))
            failures += ours["failures"] + theirs["failures"]
            detail[f"slots_{full_slots}"] = {**arms, "slots": slots, "p95_ratio": p95_ratios[-1], "perfect": perfect}
    bars = {
        f"at {slots} slots at most {limit:g} of round robin's loads": ratio <= limit
        for slots, limit, ratio in zip(SLOTS, limits, ratios, strict=True)
    }
    bars["no request fails"] = failures == 0
    speed = {"p95 lower than round robin's at both": max(p95_ratios) < 1}
    figures = {f"loads_ratio_{slots}": ratio for slots, ratio in zip(SLOTS, ratios, strict=True)}
    return {"figures": {**figures, "p95_ratio": max(p95_ratios), "detail": detail}, "bars": bars, "speed": speed}


def _perfect(size: Size, slots: int) -> dict[str, float]:
    """What an ideal cache would load for the same sequence: round robin, and one home for each adapter."""
    sequence = zipf(size.adapters, size.warm_up + size.requests, SEED)
    robin, homes = (ideal_loads(sequence, size.warm_up, ENGINES, slots, homes=homes) for homes in (False, True))
    return {"round_robin": robin, "homes": homes, "ratio": round(homes / robin, 3)}


def _measure(
    folder: Path, house: House, size: Size, slots: int, models: tuple[Model, ...], *, each: bool, rate: float | None
) -> dict[str, Any]:
    with _arm(folder, house, size, slots, each=each) as (doors, engines):
        plan = AffinityPlan(
            tuple(doors), tuple(engines), models, size.requests, size.warm_up, size.concurrency, rate, seed=SEED
        )
        command = [sys.executable, "-m", "loadtest.affinity", str(plan.write(folder / "plan.json"))]
        figures, _ = last_json(command)
    return figures


@contextmanager
def _arm(folder: Path, house: House, size: Size, slots: int, *, each: bool) -> Iterator[tuple[list[str], list[str]]]:
    """Fresh engines, and one gateway for all of them or one for each; yields the gateways' and the engines' URLs."""
    places = slots + PLACES_WE_KEEP
    options = {"load_stall_ms": size.load_stall_ms, "max_cpu_loras": places, "max_loras": places}
    with ExitStack() as stack:
        urls = [mock.url for mock in stack.enter_context(run_engines(house, *[options] * ENGINES))]
        groups: Sequence[list[str | EngineSettings]] = [[url] for url in urls] if each else [[*urls]]
        doors = []
        for number, group in enumerate(groups):
            state = shutil.copytree(house.settings.state_dir, folder / str(number) / "var")
            settings = GatewaySettings(
                state_dir=state, engines=group, engine_platform="cpu", engine_max_cpu_loras=places, port=free_port()
            )
            doors.append(stack.enter_context(served(Gateway(settings))))
            _wait_ready(doors[-1], known_admin_key(settings))
        yield doors, urls


def _wait_ready(door: str, key: str) -> None:
    def ready() -> bool:
        return set(
            httpx.get(f"{door}/readyz", headers={"Authorization": f"Bearer {key}"}).json()["engines"].values()
        ) == {"ok"}

    wait_until("all engines to be ready", ready, 30.0)
