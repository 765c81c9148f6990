"""The engine that `switchyard up` starts on this machine: a vLLM server on loopback, with LoRA loading switched on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.engines.engine import Platform
from registry.bases.store import BaseInfo
from registry.bases.tool_parser import tool_flags, tool_parser_of

SERVERS: Mapping[Platform, str] = {
    "cpu": "gateway.engines.vllm.on_cpu",
    "gpu": "vllm.entrypoints.openai.api_server",
}
CPU_STEP_TOKENS = "256"
"""A step's worth of prompt: about 1 s on two cores, and as long do everybody else's streams stand still."""


def engine_url(port: int) -> str:
    """Where the engine on a port of this machine serves."""
    return f"http://127.0.0.1:{port}"


@dataclass(frozen=True, slots=True)
class EmbeddedEngine:
    """What to start. Sizes: tokens for `max_model_len`, adapters for the LoRA counts."""

    model: Path
    port: int
    platform: Platform
    lora_modules: tuple[str, ...]
    """Modules that adapters may change, without `lm_head`: wrapping it makes vLLM's CPU engine (0.32) die of
    `prompt_logprobs` in a mixed batch, and costs a product with the whole vocabulary a token."""
    max_model_len: int = 1024
    max_loras: int = 4
    max_cpu_loras: int = 16
    max_lora_rank: int = 16
    tool_parser: str | None = None
    """vLLM's name of the parser for calls of tools; `None` where the base model's chat template knows none."""

    @classmethod
    def serving(cls, base: BaseInfo, model: Path, port: int, platform: Platform, max_lora_rank: int) -> EmbeddedEngine:
        """An engine for a registered base model whose files lie in `model`."""
        modules = {path.rpartition(".")[2] for path in base.spec.linears} - {"lm_head"}
        return cls(
            model,
            port,
            platform,
            tuple(sorted(modules)),
            max_lora_rank=max_lora_rank,
            tool_parser=tool_parser_of(model),
        )

    @property
    def url(self) -> str:
        """Embedded engines listen on loopback only: their adapter routes have no authentication."""
        return engine_url(self.port)

    @property
    def health_url(self) -> str:
        """Answers 200 once its base model is loaded."""
        return f"{self.url}/health"

    def command(self) -> list[str]:
        """`vllm serve` does not start from the CPU wheel; there it is started with products of ours."""
        command = [
            *(sys.executable, "-m", SERVERS[self.platform]),
            *("--model", str(self.model), "--served-model-name", "base"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--enable-lora", "--max-loras", str(self.max_loras), "--max-cpu-loras", str(self.max_cpu_loras)),
            *("--max-lora-rank", str(self.max_lora_rank)),
            *("--enable-prompt-tokens-details", "--enable-request-id-headers", "--fingerprint-mode", "none"),
            *tool_flags(self.tool_parser),
        ]
        if self.platform == "cpu":
            command += [
                *("--max-model-len", str(self.max_model_len), "--max-num-seqs", "16"),
                *("--max-num-batched-tokens", CPU_STEP_TOKENS, "--dtype", "float32", "--enforce-eager"),
                *("--block-size", "32", "--distributed-executor-backend", "uni"),
                *("--lora-target-modules", *self.lora_modules),
            ]
        return command

    def environment(self) -> dict[str, str]:
        """Run-time loading on, telemetry and hub access off; on a CPU one process and a bounded KV cache."""
        environment = {
            **os.environ,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
        }
        if self.platform == "cpu":
            environment |= {
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1)),
                "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                "OMP_WAIT_POLICY": "PASSIVE",
                "KMP_BLOCKTIME": "0",  # threads that spin while they wait starve the gateway and the trainer
                "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
            }
        return environment
