"""A whole installation on real parts: one vLLM, one gateway, the two sample tenants. For live tests and bars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

from gateway.engines.vllm.launch import EmbeddedEngine
from gateway.samples import provision
from gateway.serving.children import child
from gateway.serving.supervisor import wait_until_up
from loadtest.ports import free_port
from registry.service import Registry
from registry.settings import RegistrySettings

ROOT = Path(__file__).parents[2]
DEADLINE_S = 600.0
"""The end of a wait for the engine, the trainer or an answer: other tests run beside them, on two cores."""


@dataclass(frozen=True, slots=True)
class Live:
    """A running installation."""

    url: str
    engine_url: str
    state_dir: Path
    base_folder: Path
    base_name: str
    keys: dict[str, str]

    def registry_settings(self) -> RegistrySettings:
        return RegistrySettings(state_dir=self.state_dir)

    def switchyard(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The real command line, in a process of its own; it trains with one thread, beside the engine's."""
        return subprocess.run(
            [sys.executable, "-m", "switchyard", *arguments],
            env={**os.environ, "SWITCHYARD_STATE_DIR": str(self.state_dir), "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def client(self, tenant: str) -> openai.AsyncOpenAI:
        """The official client with a tenant's key; it retries nothing."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=self.keys[tenant], max_retries=0, timeout=DEADLINE_S
        )


def default_base_folder() -> Path:
    """The default base model, kept in the checkout's state folder between runs."""
    command = [sys.executable, "-m", "switchyard", "base", "prepare", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    folder: str = json.loads(done.stdout)["folder"]
    return (ROOT / folder).resolve()


@contextmanager
def real_installation(base_folder: Path, state_dir: Path, *, pools: bool = False) -> Iterator[Live]:
    """Start it, and stop all of it at the end of the block. With `pools` the engine has vectors instead of tokens."""
    settings = RegistrySettings(state_dir=state_dir)
    with Registry.open(settings) as registry:
        base = registry.bases.adopt(base_folder)
        keys = provision(registry, ROOT / "examples", base.name, state_dir / "keys.json")
    engine = EmbeddedEngine.serving(base, base_folder, free_port(), "cpu", settings.max_lora_rank)
    url = f"http://127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "SWITCHYARD_STATE_DIR": str(state_dir),
        "SWITCHYARD_PORT": url.rpartition(":")[2],
        "SWITCHYARD_ENGINES": json.dumps([engine.url]),
        "SWITCHYARD_ENGINE_PLATFORM": "cpu",
        "SWITCHYARD_ENGINE_MAX_CPU_LORAS": str(engine.max_cpu_loras),
        "SWITCHYARD_ENGINE_PROMPT_LOGPROBS": "true",  # its lm_head is out of LoRA's reach
    }
    gateway = [sys.executable, "-m", "switchyard", "gateway"]
    engine_log, gateway_log = state_dir / "engine.log", state_dir / "gateway.log"
    command = [*engine.command(), *(("--runner", "pooling") if pools else ())]
    with child(command, engine.environment(), engine_log) as engine_process:
        wait_until_up("engine", f"{engine.url}/health", engine_process, engine_log, DEADLINE_S)
        with child(gateway, environment, gateway_log) as gateway_process:
            wait_until_up("gateway", f"{url}/readyz", gateway_process, gateway_log, DEADLINE_S)
            yield Live(url, engine.url, state_dir, base_folder, base.name, keys)
