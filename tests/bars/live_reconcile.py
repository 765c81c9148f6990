"""300 short mixed requests on one real vLLM: every client's count is its ledger row, and the engine's counters the sum.

The promises are those of the reconcile bar; an engine on two cores makes some tens of tokens a second, so answers are
short and few at a time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gateway.engines.vllm.launch import EmbeddedEngine
from gateway.samples import provision
from loadtest.ports import free_port
from loadtest.spending import Mix, Purse
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.bars.reconcile import judge, spend
from tests.bars.support.engines import EngineProcess
from tests.bars.support.gateways import gateway_process
from tests.live.installation import ROOT, default_base_folder

REQUESTS, CONCURRENCY = 300, 4
START_DEADLINE_S, QUIET_S = 400.0, 10.0
STEPS_TO_STOP = 4
MIX = Mix(max_tokens=6, filler_words=40, leave_within_s=1.5, several_prompts=0.0)
"""No requests of several prompts: vLLM's running counts tell one prompt at a time, so that of a stream which is left we
book the longest prompt only, and the others would be unexplained.
"""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Spend, stop, compare."""
    base_folder = default_base_folder()
    with Registry.open(RegistrySettings(state_dir=folder / "var")) as registry:
        base = registry.bases.adopt(base_folder)
        keys = provision(registry, ROOT / "examples", base.name, folder / "keys.json")
        purses = [Purse("acme", keys["acme"], ("triage",)), Purse("globex", keys["globex"], ("sentiment",))]
        served = EmbeddedEngine.serving(base, base_folder, free_port(), "cpu", 16)
        engine = EngineProcess(
            folder / "engine.log", served.port, served.command(), served.environment(), START_DEADLINE_S
        )
        try:
            engine.start()
            engine.wait_healthy()
            with gateway_process(folder / "var", [engine.url], engine_base=base.name) as gateway:
                began = time.monotonic()
                spent = spend(gateway.url, CONCURRENCY, purses, REQUESTS, MIX)
                detail = {"seconds": round(time.monotonic() - began, 1)}
                time.sleep(QUIET_S)  # what was aborted last has left the batch
        finally:
            engine.kill()
        return judge(registry, spent, STEPS_TO_STOP, detail, retries=False)
