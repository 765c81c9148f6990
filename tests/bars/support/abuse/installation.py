"""A gateway that may open 1,024 files, an engine that all use, and one that only the attacker uses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.folders import write_adapter
from registry.children.yielding import yield_processors
from tests.bars.support.abuse.attacker import NICE
from tests.bars.support.bulk import fill
from tests.bars.support.engines import EngineProcess, engine_processes
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.adapter_folders import TinyBase, base_tensors
from tests.support.stack import BASE, House, open_house
from tests.support.waiting import wait_until

ATTACKER, OTHER, HANGS = "tenant-0000", "alice", "hung"
WARM, COLD = f"{OTHER}/triage", 40
"""What the other tenant uses, and how many more adapters it has."""
ADAPTERS, NOFILE = 5_000, 1_024
SHARED = ("--max-loras", "4", "--max-cpu-loras", "16", "--max-num-seqs", "32", "--ttft-ms", "10", "--token-ms", "10")
ALONE = ("--max-model-len", "2000000")
LOAD_MS = 100.0
SETTLES_S = 60.0


@dataclass(frozen=True, slots=True)
class Installation:
    """What is attacked. `shared` is the engine of both tenants, `alone` the attacker's second one."""

    house: House
    gateway: GatewayProcess
    shared: EngineProcess
    alone: EngineProcess
    adapters: list[str]
    """The attacker's."""

    @property
    def cold(self) -> list[str]:
        """The other tenant's, beside the one in use."""
        return [f"{OTHER}/cold-{number}" for number in range(COLD)]

    @property
    def hung(self) -> str:
        """The attacker's model on the engine of its own."""
        return f"{ATTACKER}/{HANGS}"

    def settle(self) -> None:
        """Return when nothing runs on the engines. Raises AssertionError."""
        wait_until("the attacker's requests to end", lambda: _idle(self.shared) and _idle(self.alone), SETTLES_S)


def _idle(engine: EngineProcess) -> bool:
    try:
        state = engine.state()
    except httpx.TimeoutException:  # it still reads what it was sent
        return False
    return not state["running"] and not state["waiting"]


@contextmanager
def installation(folder: Path, scale: float) -> Iterator[Installation]:
    """All of it, with as many of the attacker's adapters as the scale says."""
    with open_house(folder) as house:
        adapters = fill(house, 1, max(100, int(ADAPTERS * scale)))
        house.tenant(OTHER)
        for name in (WARM, *(f"{OTHER}/cold-{number}" for number in range(COLD))):
            house.publish(name)
            house.point(name, "1.0")
        second = TinyBase(tensors=base_tensors(seed=99)).write(folder / "second")
        house.registry.bases.register("second", second)
        source = write_adapter(folder / "hung", TinyBase().config, seed=99)
        house.registry.adapters.publish(
            tenant=ATTACKER, adapter=HANGS, folder=source, base="second", lineage={"source": "test"}
        )
        house.point(f"{ATTACKER}/{HANGS}", "1.0")
        with (
            engine_processes(folder, 1, "--model", str(house.base_folder), *SHARED) as (shared,),
            engine_processes(folder, 1, "--model", str(second), *ALONE) as (alone,),
        ):
            yield_processors(NICE, alone.pid)  # it is on another machine, as the attacker is
            shared.fault(load_ms=LOAD_MS)
            engines = [{"url": shared.url, "base": BASE}, {"url": alone.url, "base": "second"}]
            with gateway_process(
                house.settings.state_dir,
                [shared.url, alone.url],
                under=("sh", "-c", f'ulimit -n {NOFILE}; exec "$@"', "sh"),
                engines=json.dumps(engines),
                request_log="off",
            ) as gateway:
                yield Installation(house, gateway, shared, alone, adapters)
