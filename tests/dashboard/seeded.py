"""An installation in which something has happened, for screenshots: tenants, traffic, swaps, budgets, an experiment."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from registry.days import date_of, day_number
from registry.db import now_ms
from registry.experiments.plan import Plan
from registry.names import parse_whole_adapter
from tests.dashboard.seeded_experiment import put_up_ballot, try_version
from tests.dashboard.seeded_job import train_version
from tests.support.admin_calls import Admin
from tests.support.stack import House, Stack, open_house, proof, run_stack

TENANTS = {
    "acme": ("triage", "summaries", "replies"),
    "globex": ("sentiment", "routing"),
    "initech": ("forms",),
    "umbrella": ("extraction", "redaction"),
    "hooli": ("search-queries",),
}
CLIENTS = 6
ENGINES = ({"ttft_ms": 40, "token_ms": 6}, {"ttft_ms": 55, "token_ms": 8}, {"ttft_ms": 90, "token_ms": 9})


@contextmanager
def seeded(folder: Path, traffic_s: float = 60.0) -> Iterator[Stack]:
    """It serves until the block ends; traffic of `traffic_s` is behind it, and goes on."""
    with open_house(folder) as house:
        _fill(house)
        with run_stack(house, engines=ENGINES) as stack:
            stack.wait_revision()
            stop = threading.Event()
            with ThreadPoolExecutor(CLIENTS) as pool:
                for number in range(CLIENTS):
                    pool.submit(_client, stack, number, stop)
                try:
                    _happen(stack, traffic_s)
                    yield stack
                finally:
                    stop.set()


def _fill(house: House) -> None:
    """Tenants with adapters, prices, limits and budgets."""
    registry = house.registry
    registry.tariffs.add("base:tiny", input_dollars="0.30", output_dollars="1.20", source="price list")
    for tenant, adapters in TENANTS.items():
        house.tenant(tenant)
        for adapter in adapters:
            for number in range(3):
                house.publish(f"{tenant}/{adapter}", proof=proof(seed=number + 1))
            house.point(f"{tenant}/{adapter}", "1.0")
    registry.tariffs.add("tenant:acme", input_dollars="0.25", output_dollars="1.00", source="contract of 2026")
    registry.limits.set("tenant:acme", {"requests_per_minute": 6000, "daily_nano": 5 * 10**9})
    registry.limits.set("tenant:globex", {"monthly_nano": 10**7})
    registry.limits.set("tenant:initech", {"requests_per_minute": 30})


def _happen(stack: Stack, traffic_s: float) -> None:
    """What an operator does while traffic goes on."""
    house, began = stack.house, time.monotonic()
    admin = Admin(house, stack.url, stack.http)

    def at(part: float) -> None:
        time.sleep(max(0.0, began + part * traffic_s - time.monotonic()))

    cost = {"kind": "on_demand", "terms": {"hourly": "0.45"}, "source": "list price of a small GPU"}
    admin.post("/cost/engines", scope="*", effective_from=date_of(day_number(now_ms())), correction=True, **cost)
    train_version(house)
    at(0.25)
    house.promote("acme/triage", "1.1")
    house.split("globex/sentiment", {"1.0": 9000, "1.1": 1000})
    put_up_ballot(house)
    try_version(house, stack.engines[0].url)
    at(0.4)
    plan = Plan.of({"treatments": ["1.1"]})
    house.registry.experiments.create(parse_whole_adapter("umbrella/extraction"), plan, actor="ann")
    at(0.6)
    admin.post("/quarantine", version="hooli/search-queries@1.2", reason="answers in the wrong language, ticket 4711")
    house.promote("acme/summaries", "1.2")
    at(0.8)
    admin.post("/engines/drain", url=stack.engines[2].url, actor="ann", reason="driver update on this host")
    at(1.0)


def _client(stack: Stack, number: int, stop: threading.Event) -> None:
    """Asks now one, now another adapter, and streams."""
    dice = random.Random(number)
    models = [(tenant, adapter) for tenant, adapters in TENANTS.items() for adapter in adapters]
    weights = [1 / (place + 1) for place in range(len(models))]
    while not stop.is_set():
        tenant, adapter = dice.choices(models, weights)[0]
        stack.chat(adapter, tenant, stream=True, user=f"person-{dice.randrange(200)}", max_tokens=dice.randrange(4, 40))
        stop.wait(dice.expovariate(4))
