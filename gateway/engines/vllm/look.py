"""An engine at one instant, as vLLM's `/metrics` tells it."""

from __future__ import annotations

import re
import time

from gateway.engines.look import Look

METRIC = re.compile(
    r"^(process_start_time_seconds|vllm:num_requests_running|vllm:num_requests_waiting|vllm:kv_cache_usage_perc"
    r"|vllm:iteration_tokens_total_count|vllm:prompt_tokens_total|vllm:prompt_tokens_cached_total|vllm:generation_tokens_total)"
    r"(?:\{[^}]*\})? ([0-9.e+-]+)$",
    re.MULTILINE,
)
MAX_LORAS = re.compile(r'^vllm:lora_requests_info\{[^}]*max_lora="(\d+)"', re.MULTILINE)


def read_look(text: str, asked_ms: int) -> Look:
    """What the text of `/metrics`, asked for at `asked_ms` and just answered, says. Raises `KeyError` for a metric
    that is not there.
    """
    found: dict[str, float] = {}
    for name, value in METRIC.findall(text):  # one line for each data-parallel rank
        found[name] = found.get(name, 0.0) + float(value)
    return Look(
        boot=found["process_start_time_seconds"],
        running=int(found["vllm:num_requests_running"]),
        waiting=int(found["vllm:num_requests_waiting"]),
        kv_usage=found["vllm:kv_cache_usage_perc"],
        steps=int(found["vllm:iteration_tokens_total_count"]),
        max_loras=int(listed[1]) if (listed := MAX_LORAS.search(text)) else None,
        prompt_tokens=int(found["vllm:prompt_tokens_total"]),
        generation_tokens=int(found["vllm:generation_tokens_total"]),
        cached_tokens=int(found.get("vllm:prompt_tokens_cached_total", 0)),
        asked_ms=asked_ms,
        answered_ms=time.time_ns() // 1_000_000,
    )
