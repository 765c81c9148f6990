"""The shapes of the fidelity bar on a real vLLM with a parser for tools: every field of both answers is the same."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.engines.vllm.launch import EmbeddedEngine
from loadtest.fidelity.comparison import compare, context_of
from loadtest.fidelity.exchanges import Target
from loadtest.fidelity.shapes import shapes
from loadtest.ports import free_port
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.bars.fidelity import PAYING, assembled, judge, set_price
from tests.bars.support.engines import EngineProcess
from tests.bars.support.gateways import gateway_process
from tests.live.installation import default_base_folder

START_DEADLINE_S = 400.0
TENANT = "acme"


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Start both, ask both, compare."""
    base_folder = default_base_folder()
    with Registry.open(RegistrySettings(state_dir=folder / "var")) as registry:
        base = registry.bases.adopt(base_folder)
        keys = []
        for tenant in (TENANT, PAYING):
            registry.tenants.create(tenant)
            keys.append(registry.tenants.create_key(tenant, scopes=("inference", "base")).secret)
        set_price(registry)
        served = replace(
            EmbeddedEngine.serving(base, base_folder, free_port(), "cpu", 16),
            tool_parser="hermes",  # its template shows no tools, but what must be called is called
        )
        process = EngineProcess(
            folder / "engine.log", served.port, served.command(), served.environment(), START_DEADLINE_S
        )
        try:
            process.start()
            process.wait_healthy()
            with gateway_process(
                folder / "var", [process.url], engine_base=base.name, engine_prompt_logprobs=True
            ) as gateway:
                engine = Target(process.url, "base")
                began = time.monotonic()
                tried = [shape for shape in shapes(context_of(engine)) if "pooling" not in shape.needs]
                free, paid = (Target(gateway.url, base.name, key) for key in keys)
                result = compare(engine, free, tried).with_more(compare(engine, paid, assembled(tried)))
                seconds = round(time.monotonic() - began, 1)
        finally:
            process.kill()
    document = judge(result)
    document["detail"]["seconds"] = seconds
    return document
