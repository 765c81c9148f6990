"""Two real vLLM engines on CPU, one killed and restarted under traffic, with a promote while it is away.

The promises are those of the chaos bar; `loadtest.chaos` says what counts as what. Answers are short and few: an
engine makes some tens of tokens a second here, and two of them share two cores with everything else.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gateway.engines.vllm.launch import EmbeddedEngine
from gateway.samples import provision
from loadtest.chaos import Current, Fault, Return, report
from loadtest.ports import free_port
from loadtest.records import Ask, Plan
from loadtest.signatures import learn
from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.swaps.infos import FINAL_STATES, SwapInfo
from tests.bars.chaos import bars_of, moves_of, speed_of
from tests.bars.support.engines import EngineProcess
from tests.bars.support.gateways import gateway_process
from tests.bars.support.load import traffic
from tests.live.installation import ROOT, default_base_folder
from tests.support.waiting import wait_until

SLOW_S = 60.0
"""Two engines of which one starts, on two cores: answers are slow, and slowness is no sign of a fault here."""
LOADED = re.compile(r"(?:loaded \S+ on|took engine) (\S+) (?:over )?in ([0-9.]+) s")
RATE, SECONDS = 1.0, 210.0
KILL_AT_S, PROMOTE_AT_S = 20.0, 30.0
TOKENS = 6
START_DEADLINE_S = 400.0
TICKET = "Ticket: my parcel is late and the tracking page shows nothing.\n"
ADAPTERS = {
    "acme/triage@1.0": ROOT / "examples" / "triage" / "adapter",
    "globex/sentiment@1.0": ROOT / "examples" / "sentiment" / "adapter",
}
PROMPTS = (TICKET, "Review: the kettle leaks.\nLabel:")


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Start, learn what each version says, kill, promote, restart, judge."""
    base_folder = default_base_folder()
    with Registry.open(RegistrySettings(state_dir=folder / "var")) as registry, ExitStack() as stack:
        base = registry.bases.adopt(base_folder)
        keys = provision(registry, ROOT / "examples", base.name, folder / "keys.json")
        second = registry.adapters.publish(
            tenant="acme",
            adapter="triage",
            folder=ROOT / "examples" / "sentiment" / "adapter",
            base=base.name,
            lineage={},
        ).version  # other weights under the same name: the answers tell the versions apart
        engines = [_real(folder, EmbeddedEngine.serving(base, base_folder, free_port(), "cpu", 16)) for _ in range(2)]
        _start_all(engines, stack)
        signatures = dict(asyncio.run(learn(engines[0].url, ADAPTERS, {}, PROMPTS, TOKENS)))
        signatures[second.name] = signatures["globex/sentiment@1.0"]  # the very same weights
        engines[0].kill()  # what it learnt from is nothing that a gateway should find there
        engines[0].start()
        engines[0].wait_healthy()
        gateway = stack.enter_context(
            gateway_process(
                folder / "var",
                [engine.url for engine in engines],
                engine_base=base.name,
                engine_max_cpu_loras=16,
                engine_hung_after_s=30.0,
            )
        )
        asks = (Ask("acme", keys["acme"], "acme/triage"), Ask("globex", keys["globex"], "globex/sentiment"))
        plan = Plan(
            gateway.url, RATE, SECONDS, asks, PROMPTS, seed=1, whole_tokens=TOKENS, stream_tokens=TOKENS, timeout_s=60.0
        )
        faults: list[Fault] = []
        with traffic(folder, plan) as records:
            healthy_s, swap = _kill_promote_restart(registry, _home_of(registry, engines), second.name, faults)
        asked = {record.last.request_id for record in records if record.last.status == 200}
        usage = _shipped(registry, asked)
    killed = faults[0].engine
    assert killed is not None
    loads_s = _last_loads_s(gateway.log, killed)
    names = ("acme/triage", "globex/sentiment")
    figures: dict[str, Any] = report(
        records,
        faults,
        [Return(killed, healthy_s + loads_s, _first_served_s(usage, killed, healthy_s))],
        Current({f"{name}{alias}": f"{name}@1.0" for name in names for alias in ("", "@production")}, moves_of(swap)),
        signatures,
        {str(row["request_id"]): str(row["engine"]) for row in usage}.get,
        slow_s=SLOW_S,
    )
    figures["detail"] |= {
        "loads_of_the_returned_engine_s": loads_s,
        "swaps_done": int(swap.state == "done"),
        "swap": swap.detail,
        "restart_s": healthy_s - faults[0].done,
    }
    return {"figures": figures, "bars": bars_of(figures), "speed": speed_of(figures)}


def _start_all(engines: Sequence[EngineProcess], stack: ExitStack) -> None:
    """Start them side by side; they are killed with the stack."""
    for engine in engines:
        stack.callback(engine.kill)
        engine.start()
    for engine in engines:
        engine.wait_healthy()


def _first_served_s(usage: Sequence[dict[str, Any]], engine: str, since_s: float) -> float | None:
    """When the first request began that the engine answered after `since_s`; `None` if there is none."""
    answered = [row["started_at_ms"] / 1000 for row in usage if row["engine"] == engine and row["outcome"] == "ok"]
    return min((at_s for at_s in answered if at_s > since_s), default=None)


def _real(folder: Path, engine: EmbeddedEngine) -> EngineProcess:
    log = folder / f"engine-{engine.port}.log"
    return EngineProcess(log, engine.port, engine.command(), engine.environment(), START_DEADLINE_S)


def _last_loads_s(log: Path, url: str) -> float:
    """Seconds that the engine's last boot took for its base and its first adapter, as the gateway's log has them."""
    took = [
        (line, float(seconds))
        for line in log.read_text().splitlines()
        for where, seconds in LOADED.findall(line)
        if where == url
    ]
    last_boot = max(number for number, (line, _) in enumerate(took) if "took engine" in line)
    return sum(seconds for _, seconds in took[last_boot : last_boot + 2])


def _home_of(registry: Registry, engines: Sequence[EngineProcess]) -> EngineProcess:
    """The engine that has answered most: killing it costs something."""
    time.sleep(KILL_AT_S)
    counts = [sum(row["engine"] == engine.url for row in registry.ledger.recent(10_000)) for engine in engines]
    return engines[counts.index(max(counts))]


def _kill_promote_restart(
    registry: Registry, engine: EngineProcess, version: str, faults: list[Fault]
) -> tuple[float, SwapInfo]:
    began = time.time()
    engine.kill()
    faults.append(Fault("kill", engine.url, began, time.time()))
    engine.start()
    time.sleep(PROMOTE_AT_S - KILL_AT_S)
    swap = registry.swaps.request(parse_ref(version), actor="bar")
    wait_until("the promote to end", lambda: registry.swaps.get(swap.id).state in FINAL_STATES, 60.0)
    return engine.wait_healthy(), registry.swaps.get(swap.id)


def _shipped(registry: Registry, asked: set[str | None]) -> list[dict[str, Any]]:
    def rows() -> list[dict[str, Any]] | None:
        found = registry.ledger.recent(100_000)
        return found if asked <= {row["request_id"] for row in found} else None

    return wait_until("the usage to be shipped", rows, 15.0)
