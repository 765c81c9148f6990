"""What accounting costs a request that is not streamed: the same gateway with the journal, the limits, the metrics off.

One gateway process in front of a mock engine is sent the same request again and again, 16 at once. Every so many
requests it has another part taken out, or none, by chance: so that a noisy machine hurts all alike. `*_us`: processor
time of the event loop's thread per request, median with everything less median without the part. Without the journal
there is no meter either; without limits no hold and no price (else tenant, key and adapter have every kind of limit);
without metrics nothing is counted. `loop_us` is the median with everything. After that, with everything:
`process_us` of all threads per request, until its row is in SQL, of which `shipper_us` is the thread that brings it
there; `journal_write_p999_ms`: single calls of the journal on the loop, with the time that others took from it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from loadtest.client import Client
from loadtest.overhead import request_body
from loadtest.ports import free_port
from registry.limits.store import FIELDS
from tests.bars.support.accounted import (
    EVERYTHING,
    FIGURES,
    NO_JOURNAL,
    NO_LIMITS,
    NO_METRICS,
    READY,
    SAMPLES,
    TIME,
    VARY,
)
from tests.bars.support.engines import engine_processes
from tests.live.installation import ROOT
from tests.support.stack import BASE, CHAT, House, open_house
from tests.support.waiting import wait_until

VARIED, TIMED, AT_ONCE = 160_000, 40_000, 16
OFF = {"journal": NO_JOURNAL, "limits": NO_LIMITS, "metrics": NO_METRICS}
MOST_US = {"journal": 10.0, "limits": 8.0, "metrics": 12.0}
MOST_WRITE_MS = 1.0
TENANT, MODEL = "acme", "acme/triage"
PLENTY = 10**12
WARM_UP = 500
USED = ("process", "shipper")
COUNTS = ("fsyncs", "loop_fsyncs", "statements", "loop_statements")


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Serve with parts taken out, then with a clock around the journal."""
    varied, timed = int(VARIED * scale), int(TIMED * scale)
    with open_house(folder) as house, engine_processes(folder, 1) as (engine,):
        secret = _fill(house)
        with _accounted(house, engine.url) as gateway:
            _ask(gateway, secret, WARM_UP)
            gateway.obey(VARY)
            _ask(gateway, secret, varied)
            _wait_shipped(gateway)
            before = gateway.obey(TIME)
            _ask(gateway, secret, timed)
            _wait_shipped(gateway)
            after, samples = gateway.obey(FIGURES), gateway.obey(SAMPLES)
    us = {variant: [cost_ns / 1e3 for cost_ns in costs_ns] for variant, costs_ns in samples["cost_ns"].items()}
    median_us = {variant: median(costs) for variant, costs in us.items()}
    figures = {
        **{f"{part}_us": round(median_us[EVERYTHING] - median_us[variant], 1) for part, variant in OFF.items()},
        "journal_write_p999_ms": round(quantiles(samples["took_ns"], n=1000)[998] / 1e6, 3),
        "loop_us": round(median_us[EVERYTHING], 1),
        **{f"{name}_us": round((after[f"{name}_ns"] - before[f"{name}_ns"]) / timed / 1e3, 1) for name in USED},
    }
    return {
        "figures": figures,
        "detail": {
            "varied_requests": varied,
            "timed_requests": timed,
            "quartiles_us": {variant: [round(one, 1) for one in quantiles(costs)] for variant, costs in us.items()},
            **{name: after[name] for name in COUNTS},
        },
        "bars": {
            "no fsync on the event loop, and some elsewhere": after["fsyncs"] > after["loop_fsyncs"] == 0,
            "no SQL on the event loop, and some elsewhere": after["statements"] > after["loop_statements"] == 0,
        },
        "speed": {
            **{f"{part} within {most:g} µs": figures[f"{part}_us"] <= most for part, most in MOST_US.items()},
            f"99.9 % of journal writes within {MOST_WRITE_MS:g} ms": figures["journal_write_p999_ms"] <= MOST_WRITE_MS,
        },
    }


def _fill(house: House) -> str:
    """A tenant whose requests have a price and every kind of limit on all scopes; its key's secret."""
    house.tenant(TENANT)
    house.publish(MODEL)
    house.point(MODEL, "1.0")
    key = house.registry.tenants.create_key(TENANT, scopes=("inference",))
    house.registry.tariffs.add(f"base:{BASE}", input_dollars="1", output_dollars="10", source="this benchmark")
    for scope in (f"tenant:{TENANT}", f"key:{key.id}", f"adapter:{MODEL}"):
        house.registry.limits.set(scope, {**dict.fromkeys(FIELDS, PLENTY), "warn_percent": 80})
    return key.secret


class Accounted:
    """A gateway that obeys `tests.bars.support.accounted`."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self._process = process

    def obey(self, order: str) -> dict[str, Any]:
        """Give an order; the figures so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._process.stdout.readline())
        return figures


@contextmanager
def _accounted(house: House, engine_url: str) -> Iterator[Accounted]:
    port = free_port()
    environment = {
        **os.environ,
        "SWITCHYARD_STATE_DIR": str(house.settings.state_dir),
        "SWITCHYARD_ENGINES": json.dumps([engine_url]),
        "SWITCHYARD_ENGINE_PLATFORM": "cpu",
        "SWITCHYARD_PORT": str(port),
        "SWITCHYARD_REQUEST_LOG": "off",  # its lines would stand among the answers to orders
    }
    url, command = f"http://127.0.0.1:{port}", [sys.executable, "-m", "tests.bars.support.accounted"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{READY}\n"
            wait_until("the engine to be ready", lambda: httpx.get(f"{url}/readyz").status_code == 200)
            yield Accounted(url, process)
            process.communicate(timeout=30)  # its stdin ends, and so does it
        finally:
            process.kill()


def _ask(gateway: Accounted, secret: str, count: int) -> None:
    """So many requests. Raises `RuntimeError` when one is not answered well."""
    body, turns = request_body(MODEL, stream=False), repeat(None, count)

    async def ask(client: Client) -> None:
        for _ in turns:
            reply = await client.post(CHAT, body)
            if reply.status != 200:
                raise RuntimeError(f"HTTP {reply.status}: {reply.body[:200]!r}")

    async def ask_all() -> None:
        async with Client(gateway.url, secret) as client:
            await asyncio.gather(*(ask(client) for _ in range(AT_ONCE)))

    asyncio.run(ask_all())


def _wait_shipped(gateway: Accounted) -> None:
    wait_until("the ledger to have it all", lambda: not gateway.obey(FIGURES)["unshipped_bytes"])
