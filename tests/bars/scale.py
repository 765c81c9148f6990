"""10,000 adapters of 1,000 tenants: what a change of the catalog, a request's way to its engine, and memory cost.

`delta_ms`: from asking for the newest catalog to having it, one change after the other: the 99th percentile is held
against the bar (`delta_median_ms` stands beside it). `loop_stall_ms`: the most that a nap of 1 ms was late on an event
loop that keeps its catalog current while another process changes it. Both leave out the time in which other programs
had the processor; `loop_late_ms` is with it. `path_us`: median of resolve + assign + place for the first request of
each adapter, half of them resident on one of four engines, in the quickest of five passes. `rss_mb`: a gateway process
with all of its children, after it has served some of the tenants and learnt of changes. `first_read_s`: the whole
catalog, once.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import psutil

from gateway.fleet.adapter_slots import AdapterSlots
from gateway.fleet.homes import Homes
from gateway.fleet.room import Room
from gateway.fleet.view import FleetView
from gateway.handoffs import Unit
from gateway.serving.server import spare_what_lives
from gateway.steps.assign import assign
from gateway.steps.authenticate import authenticate
from gateway.steps.place import Openings, place
from gateway.steps.resolve import resolve
from registry.catalog.reader import read_catalog
from registry.catalog.snapshot import Catalog
from registry.names import parse_ref
from registry.service import Registry
from registry.swaps.infos import DONE
from tests.bars.support.bulk import SPLIT_EVERY, fill
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.bars.support.queueing import queued_s
from tests.live.installation import ROOT
from tests.support.fleet_parts import engine_view
from tests.support.stack import CHAT, MESSAGES, House, open_house

ADAPTERS, TENANTS, DELTAS = 10_000, 1_000, 400
DELTA_LIMIT_MS, STALL_LIMIT_MS, PATH_LIMIT_US, RSS_LIMIT_MB = 5.0, 10.0, 30.0, 300.0
CHANGE_EVERY_S = 0.01
REQUESTS, PASSES = 50, 5


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Fill the tables, then measure one after the other."""
    deltas = max(100, int(DELTAS * scale))
    with open_house(folder) as house:
        names = fill(house, max(1, int(TENANTS * scale)), int(ADAPTERS * scale))
        began = time.perf_counter()
        catalog = read_catalog(house.registry.db)
        first_read_s = time.perf_counter() - began
        path_us = _path_us(house, catalog, names)
        changes = _changes(house.registry, names)
        spare_what_lives()  # as a gateway does when it has started
        took_ms = _deltas_ms(house.registry, changes, deltas)
        gc.unfreeze()
        stalls = _stalls(house, changes, deltas)
        rss_mb = _rss_mb(folder, house, names, changes)
    figures = {
        "delta_ms": round(statistics.quantiles(took_ms, n=100)[98], 2),
        "delta_median_ms": round(statistics.median(took_ms), 2),
        "loop_stall_ms": round(stalls["stall_ms"], 2),
        "loop_late_ms": round(stalls["late_ms"], 2),
        "path_us": round(path_us, 1),
        "rss_mb": round(rss_mb, 1),
        "first_read_s": round(first_read_s, 2),
    }
    return {
        "adapters": len(names),
        "figures": figures,
        "bars": {f"gateway within {RSS_LIMIT_MB:g} MB": figures["rss_mb"] <= RSS_LIMIT_MB},
        "speed": {
            f"99 % of deltas applied within {DELTA_LIMIT_MS:g} ms": figures["delta_ms"] <= DELTA_LIMIT_MS,
            f"event loop never stalled for more than {STALL_LIMIT_MS:g} ms": figures["loop_stall_ms"] <= STALL_LIMIT_MS,
            f"resolve + assign + place within {PATH_LIMIT_US:g} µs": figures["path_us"] <= PATH_LIMIT_US,
        },
    }


def _path_us(house: House, catalog: Catalog, names: list[str]) -> float:
    """Each adapter's first request; every second adapter is resident somewhere."""
    principals = {tenant: authenticate(key, catalog) for tenant, key in house.keys.items()}
    urls = [f"http://engine-{number}:8000" for number in range(4)]
    resident: dict[str, dict[int, str]] = {url: {} for url in urls}
    for number, version in enumerate(catalog.wanted_versions()):
        if number % 2:
            resident[urls[number // 2 % 4]][version.id] = f"a-{version.manifest_digest[7:23]}-{number}"
    (base,) = catalog.bases.values()
    engines = tuple(engine_view(url, base_digest=base.digest, resident=resident[url]) for url in urls)
    openings = Openings({url: number for number, url in enumerate(urls)}, Room().has_seat, AdapterSlots().has_slot)
    medians = []
    for _ in range(PASSES):
        view, took_ns = FleetView(engines, Homes(dict.fromkeys(urls, 16)), {}), []
        for number, name in enumerate(names):
            principal, unit = principals[name.partition("/")[0]], Unit(f"conversation-{number}", "conversation_id")
            began = time.perf_counter_ns()
            arm, _ = assign(resolve(principal, name, catalog), unit)
            engine = place(arm, view, openings, (), ())
            took_ns.append(time.perf_counter_ns() - began)
            assert engine is not None
        medians.append(statistics.median(took_ns))
    return min(medians) / 1e3


def _changes(registry: Registry, names: list[str]) -> Iterator[None]:
    """Each `next` commits one change of the catalog: keys, flags, mapped names, promotes; without an end."""
    for name in cycle(names[::SPLIT_EVERY]):
        tenant, _, adapter = name.partition("/")
        key = registry.tenants.create_key(tenant)
        yield
        registry.model_names.map(tenant, "gpt-4o", adapter)
        yield
        for number in ("1.1", "1.0"):
            _promote(registry, f"{name}@{number}")
            yield
        registry.tenants.revoke_key(key.id)
        yield
        for allow in (True, False):
            registry.tenants.change(tenant, {"allow_unknown_fields": allow})
            yield


def _promote(registry: Registry, ref: str) -> None:
    swap = registry.swaps.request(parse_ref(ref), actor="bars")
    registry.swaps.flip(swap.id)
    registry.swaps.advance(swap.id, DONE)


def _deltas_ms(registry: Registry, changes: Iterator[None], count: int) -> list[float]:
    """One change, one delta, again and again; the first few also compile their SQL, and do not count."""
    took_ms: list[float] = []
    catalog = registry.catalog()
    for _ in range(10 + count):
        next(changes)
        queued, began = queued_s(), time.perf_counter()
        newest = registry.catalog()
        took_ms.append((time.perf_counter() - began - (queued_s() - queued)) * 1e3)
        assert newest.revision == catalog.revision + 1
        catalog = newest
    return took_ms[10:]


def _stalls(house: House, changes: Iterator[None], count: int) -> dict[str, float]:
    """So many changes from here, one every 20 ms, while a loop in another process keeps up with them."""
    command = [sys.executable, "-m", "tests.bars.support.stalls", str(house.settings.state_dir)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("begin\n")
            process.stdin.flush()
            for _ in range(count):
                next(changes)
                time.sleep(CHANGE_EVERY_S)
            time.sleep(0.5)
            output, _ = process.communicate("end\n", timeout=30)
        finally:
            process.kill()
    stalls: dict[str, float] = json.loads(output)
    if stalls["to_revision"] < stalls["from_revision"] + count:
        raise RuntimeError(f"the loop did not keep up with {count} changes: {stalls}")
    return stalls


def _rss_mb(folder: Path, house: House, names: list[str], changes: Iterator[None]) -> float:
    """A gateway process and its children, after requests for adapters of many tenants and a number of changes."""
    whole = [name for number, name in enumerate(names) if number % SPLIT_EVERY]
    with engine_processes(folder, 1) as (engine,), gateway_process(house.settings.state_dir, [engine.url]) as gateway:
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            for name in whole[:: max(1, len(whole) // REQUESTS)]:
                key = house.keys[name.partition("/")[0]]
                body = {"model": name, "messages": MESSAGES, "max_tokens": 4}
                http.post(CHAT, json=body, headers={"Authorization": f"Bearer {key}"}).raise_for_status()
                next(changes)
            ends = time.monotonic() + 10
            while gateway.readiness()["catalog_revision"] < house.registry.db.catalog_revision():
                assert time.monotonic() < ends, "the gateway does not learn of changes"
                time.sleep(0.05)
        family = [psutil.Process(gateway.pid), *psutil.Process(gateway.pid).children(recursive=True)]
        return float(sum(process.memory_info().rss for process in family) / 1e6)
