"""Engines and the controller killed, hung and slowed under mixed traffic, promotes and rollbacks.

Four mock engines, two gateway workers, 200 adapters of eight tenants, every second one with two versions, every third
with effect proofs, 60 s. Engines also come back broken: without LoRA, with a 500 for every load, or a 400 for every
request. Every answer's model is compared with the versions that were current while it was made, and its text with what
that version says to the prompt when an engine outside of the fleet is asked. `loadtest.chaos` says what counts as what.
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.chaos import BREAKING, Current, Move, Return, report
from loadtest.records import Ask, Plan, Record
from loadtest.signatures import Signatures, learn
from registry.errors import RegistryError
from registry.names import parse_ref
from registry.swaps.infos import FAILED, SwapInfo
from tests.bars.support.engines import engine_processes
from tests.bars.support.faults import Chaos, Planned, plan_faults
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.bars.support.load import Busy, traffic
from tests.bars.support.many import Published, publish_many
from tests.support.stack import BASE, House, open_house
from tests.support.waiting import wait_until

SEED = 20_261_125
ENGINES, WORKERS, TENANTS, ADAPTERS = 4, 2, 8, 200
SECONDS, SHORTEST_S = 60.0, 10.0
RATE = 60.0
SLOTS = 56
TOKENS = 40
SWAP_EVERY_S = 0.7
POLL_S = 0.2
RECOVERY_LIMIT_S = 5.0
PROMPTS = ("Write one line about the refund of an order.", "Why is my parcel late?")
ANSWERS = ("--answer-tokens", str(TOKENS))
MOCK = (*ANSWERS, "--ttft-ms", "10", "--token-ms", "15", "--max-loras", "32", "--max-cpu-loras", str(SLOTS))


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Publish, learn what each version says, let it all loose, judge."""
    seconds = max(SHORTEST_S, SECONDS * scale)
    first_s, every_s, hung_s = (4.0, 5.5, 6.0) if scale >= 1 else (1.0, 1.2, 3.5)
    plan = plan_faults(SEED, seconds, first_s, every_s, ENGINES)
    print(f"{ENGINES} engines, {RATE:g} requests a second for {seconds:g} s, seed {SEED}", *plan, sep="\n", flush=True)
    with open_house(folder) as house:
        adapters, folders = publish_many(
            house, TENANTS, max(4 * TENANTS, int(ADAPTERS * scale)), every_second_version=2, every_proven=3
        )
        with engine_processes(folder, 1, "--max-cpu-loras", "1000", *ANSWERS) as (witness,):
            signatures = asyncio.run(learn(witness.url, folders, {BASE: "base"}, PROMPTS, TOKENS))
        with (
            engine_processes(folder, ENGINES, *MOCK) as engines,
            gateway_process(
                house.settings.state_dir,
                [engine.url for engine in engines],
                workers=WORKERS,
                engine_max_cpu_loras=SLOTS,
                engine_check_s=0.5,
                engine_hung_after_s=2.0,
                catalog_poll_s=POLL_S,
            ) as gateway,
        ):
            chaos = Chaos(engines, house.registry.leadership, hung_s, gateway.readiness)
            busy = Busy()
            records = _let_loose(folder, house, gateway, adapters, chaos, plan, seconds)
            used = busy.percent()
            swaps = _finished_swaps(house)
            figures = _judge(house, records, chaos, adapters, swaps, signatures)
    figures["detail"] |= {"cpu_percent": used, "requests_per_s": RATE, "seconds": seconds}
    return {"figures": figures, "bars": bars_of(figures), "speed": speed_of(figures)}


def bars_of(figures: dict[str, Any]) -> dict[str, bool]:
    """The promises."""
    return {
        "0 wrong-version or wrong-tenant answers": figures["wrong_answers"] == 0,
        "0 client-visible 404": figures["client_404"] == 0,
        "failures at most the streams that ran on a killed or hung engine": figures["excess_failures"] == 0,
        "an engine that returns broken takes nothing away: 0 quarantined versions": figures["quarantined"] == 0,
        "every engine that returned broken was refused": figures["broken_boots"] > 0 and not figures["not_refused"],
        "there was traffic, and there were swaps": figures["requests"] > 0 and figures["detail"]["swaps_done"] > 0,
    }


def speed_of(figures: dict[str, Any]) -> dict[str, bool]:
    """Recovery on the machine that it was measured on."""
    return {f"recovery within {RECOVERY_LIMIT_S:g} s": figures["max_recovery_s"] <= RECOVERY_LIMIT_S}


def asks(house: House, adapters: Sequence[Published]) -> tuple[Ask, ...]:
    """Popularity falls as 1/rank. Most ask for the alias, some for a version, few for the base or for others'."""
    found = []
    for rank, adapter in enumerate(random.Random(SEED).sample(adapters, len(adapters)), start=1):
        key, tenant, weight = house.keys[adapter.tenant], adapter.tenant, 1 / rank
        found.append(Ask(tenant, key, adapter.name, 0.6 * weight))
        found.append(Ask(tenant, key, f"{adapter.name}@production", 0.1 * weight))
        found += [Ask(tenant, key, version, 0.2 * weight / len(adapter.versions)) for version in adapter.versions]
        stranger = next(other for other in house.keys if other != tenant)
        found.append(Ask(stranger, house.keys[stranger], adapter.name, 0.02 * weight, forbidden=True))
    total = sum(ask.weight for ask in found)
    return (*found, *(Ask(tenant, key, BASE, 0.1 * total / len(house.keys)) for tenant, key in house.keys.items()))


def _let_loose(
    folder: Path,
    house: House,
    gateway: GatewayProcess,
    adapters: Sequence[Published],
    chaos: Chaos,
    plan: Sequence[Planned],
    seconds: float,
) -> list[Record]:
    load = Plan(gateway.url, RATE, seconds, asks(house, adapters), PROMPTS, seed=SEED, stream_tokens=TOKENS)
    with traffic(folder, load) as records, _swapping(house, adapters, seconds):
        chaos.run(plan)
    return records


@contextmanager
def _swapping(house: House, adapters: Sequence[Published], seconds: float) -> Iterator[None]:
    """Ask for a promote or a rollback of some adapter now and then, for so long."""
    draw, stop = random.Random(SEED), threading.Event()
    movable = [adapter for adapter in adapters if len(adapter.versions) > 1]

    def swap() -> None:
        ends = time.monotonic() + seconds
        while not stop.wait(SWAP_EVERY_S) and time.monotonic() < ends:
            ref = parse_ref(draw.choice(draw.choice(movable).versions))
            with suppress(RegistryError):  # still running, or nothing to go back to
                if draw.random() < 0.3:
                    house.registry.swaps.request_rollback(ref, actor="chaos")
                else:
                    house.registry.swaps.request(ref, actor="chaos")

    thread = threading.Thread(target=swap, name="swaps")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _finished_swaps(house: House) -> list[SwapInfo]:
    wait_until("all swaps to end", lambda: not house.registry.swaps.pending(), 30.0)
    return [swap for swap in house.registry.swaps.recent(100_000) if swap.detail.get("from")]


def _judge(
    house: House,
    records: Sequence[Record],
    chaos: Chaos,
    adapters: Sequence[Published],
    swaps: Sequence[SwapInfo],
    signatures: Signatures,
) -> dict[str, Any]:
    asked = {record.last.request_id for record in records if record.last.status == 200}
    wait_until("the usage to be shipped", lambda: asked <= {row["request_id"] for row in house.usage()}, 15.0)
    usage = sorted(house.usage(), key=lambda row: (row["started_at_ms"], row["attempt_id"]))
    engine_of = {str(row["request_id"]): str(row["engine"]) for row in usage}
    at_start = {name: adapter.current for adapter in adapters for name in (adapter.name, f"{adapter.name}@production")}
    figures: dict[str, Any] = report(
        records,
        chaos.faults,
        returns_of(chaos, usage),
        Current(at_start, [move for swap in swaps for move in moves_of(swap)]),
        signatures,
        engine_of.get,
    )
    figures |= {
        "quarantined": len(house.registry.adapters.quarantined()),
        "broken_boots": len(chaos.broken),
        "not_refused": [f"{one.engine}: {one.kind}" for one in chaos.broken if one.refused_after_s is None],
    }
    figures["detail"]["refused_after_s"] = {f"{one.kind} at {one.engine}": one.refused_after_s for one in chaos.broken}
    states = Counter(swap.state for swap in swaps)
    figures["detail"] |= {"swaps_done": states["done"], "swaps_failed": states[FAILED], "seed": SEED}
    figures["detail"]["swap_errors"] = [str(swap.detail.get("error")) for swap in swaps if swap.state == FAILED][:5]
    return figures


def moves_of(swap: SwapInfo) -> list[Move]:
    """What a swap did to the names that mean production. The old version is right until every worker has acknowledged,
    and without that word for as long as a worker may take to look.
    """
    if "flipped_at_ms" not in swap.detail:
        return []
    flipped = swap.detail["flipped_at_ms"] / 1_000
    settled = (swap.detail.get("acknowledged_at_ms", 0) + 1) / 1_000 if "acknowledged_at_ms" in swap.detail else None
    until = flipped + 1.0 if settled is None else settled
    names = (swap.adapter, f"{swap.adapter}@production")
    return [Move(name, swap.detail["from"], swap.to_version, flipped, until) for name in names]


def returns_of(chaos: Chaos, usage: Sequence[dict[str, Any]]) -> list[Return]:
    """Engines that came back, with the start of the first request that each then answered.

    One that was hit again before it had its time is left out.
    """
    found = []
    for back in chaos.returns:
        answered = [
            row["started_at_ms"] / 1_000
            for row in usage
            if row["engine"] == back.engine and row["outcome"] == "ok" and row["started_at_ms"] / 1_000 >= back.healthy
        ]
        hits = [
            fault.began
            for fault in chaos.faults
            if fault.engine == back.engine and fault.kind in BREAKING and fault.began > back.healthy
        ]
        served = min(answered, default=None)
        ends = min(hits, default=math.inf)
        if (served is None or served > ends) and ends < back.healthy + RECOVERY_LIMIT_S:
            continue
        found.append(replace(back, served=served))
    return found
