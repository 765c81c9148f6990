"""Counters, and `/metrics` under the names that vLLM 0.32 uses (vllm/v1/metrics/loggers.py)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from loadtest.mock_engine.pace import Pace
from loadtest.mock_engine.queues import Admission, PrefixCache
from loadtest.mock_engine.worker import AdapterTable

BUCKETS_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


NAMES_KEPT = 10_000
"""Names of which a tally knows the count; adapters are loaded under new names forever."""


class Tally:
    """Counts by name, of the names that came last."""

    def __init__(self) -> None:
        self.by_name: dict[str, int] = {}
        self.total = 0

    def count(self, name: str) -> None:
        """One more; beyond `NAMES_KEPT` the oldest name is forgotten, and stays in the total."""
        self.total += 1
        self.by_name[name] = self.by_name.get(name, 0) + 1
        if len(self.by_name) > NAMES_KEPT:
            del self.by_name[next(iter(self.by_name))]


class Histogram:
    """Prometheus' cumulative histogram over seconds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total = 0.0

    def see(self, seconds: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> list[str]:
        """Text exposition."""
        lines, running = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            running += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {running}')
        return [*lines, f"{name}_sum{{{labels}}} {self.total}", f"{name}_count{{{labels}}} {running}"]


@dataclass(slots=True)
class Stats:
    """What happened since the engine started."""

    requests: Tally = field(default_factory=Tally)
    """Inference requests by the model name that was asked for and known."""
    identified: int = 0
    """Those of them that have an X-Request-Id: clients' through a gateway, but not its proofs of adapters."""
    answered: Tally = field(default_factory=Tally)
    """Inference requests that were answered to the last byte, by model name."""
    aborted: int = 0
    """Requests whose client left before the end."""
    failed: int = 0
    """Inference requests that got a fault or an error."""
    unknown_model: int = 0
    tokenized: int = 0
    """Answers of /tokenize."""
    trace: tuple[str | None, str | None] = (None, None)
    """`traceparent` and `tracestate` of the newest inference request."""
    finished: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    """Of every prompt whose first token was made, once for each of its answers; aborted ones too, as in vLLM."""
    cached_tokens: int = 0
    generation_tokens: int = 0
    """Made, whether or not somebody was there to read them."""
    ttft: Histogram = field(default_factory=Histogram)
    token_gap: Histogram = field(default_factory=Histogram)
    latency: Histogram = field(default_factory=Histogram)
    queue: Histogram = field(default_factory=Histogram)


def steps(stats: Stats, pace: Pace) -> int:
    """Steps of the core: those of the time in which requests ran, and at least one for each that was answered."""
    return pace.busy_steps + stats.answered.total


def state(stats: Stats, admission: Admission, table: AdapterTable, pace: Pace) -> dict[str, Any]:
    """The body of `GET /mock/state`. `requests` and `answered` are by model name; `served` is the sum of `answered`,
    forgotten names included; `slots` are the numbers that have a slot; a number counts loads from 1.
    """
    return {
        "requests": stats.requests.by_name,
        "identified": stats.identified,
        "answered": stats.answered.by_name,
        "served": stats.answered.total,
        "steps": steps(stats, pace),
        "running": admission.running,
        "waiting": admission.waiting,
        "max_running": admission.max_running,
        "aborted": stats.aborted,
        "failed": stats.failed,
        "unknown_model": stats.unknown_model,
        "tokenized": stats.tokenized,
        "trace": stats.trace,
        "loads": table.loads,
        "unloads": table.unloads,
        "evictions": table.evictions,
        "disk_reads": table.disk_reads,
        "loaded": {name: adapter.path for name, adapter in table.names.items()},
        "in_memory": list(table.memory),
        "slots": list(table.slots),
    }


def exposition(
    model: str,
    started: float,
    now: float,
    stats: Stats,
    admission: Admission,
    table: AdapterTable,
    prefix: PrefixCache,
    pace: Pace,
) -> str:
    """The text of `/metrics`. `started` and `now` are unix times."""
    labels = f'engine="0",model_name="{model}"'
    gauges = {"num_requests_running": admission.running, "num_requests_waiting": admission.waiting}
    counters = {
        "prefix_cache_queries": prefix.queries,
        "prefix_cache_hits": prefix.hits,
        "num_preemptions": 0,
        "prompt_tokens": stats.prompt_tokens,
        "prompt_tokens_cached": stats.cached_tokens,
        "generation_tokens": stats.generation_tokens,
    }
    lines = ["# TYPE process_start_time_seconds gauge", f"process_start_time_seconds {started}"]
    for name, value in gauges.items():
        lines += [f"# TYPE vllm:{name} gauge", f"vllm:{name}{{{labels}}} {float(value)}"]
    lines.append("# TYPE vllm:num_requests_waiting_by_reason gauge")
    for reason, count in (("capacity", admission.waiting), ("deferred", 0)):
        lines.append(f'vllm:num_requests_waiting_by_reason{{{labels},reason="{reason}"}} {float(count)}')
    usage = min(1.0, admission.running / 256)
    lines += ["# TYPE vllm:kv_cache_usage_perc gauge", f"vllm:kv_cache_usage_perc{{{labels}}} {usage}"]
    for name, value in counters.items():
        lines += [f"# TYPE vllm:{name}_total counter", f"vllm:{name}_total{{{labels}}} {float(value)}"]
    lines.append("# TYPE vllm:request_success_total counter")
    for reason in ("stop", "length", "abort", "error"):
        count = stats.finished[reason]
        lines.append(
            f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="{model}"}} {float(count)}'
        )
    lines += stats.ttft.lines("vllm:time_to_first_token_seconds", labels)
    lines += stats.token_gap.lines("vllm:inter_token_latency_seconds", labels)
    lines += stats.latency.lines("vllm:e2e_request_latency_seconds", labels)
    lines += stats.queue.lines("vllm:request_queue_time_seconds", labels)
    lines += _iterations(labels, steps(stats, pace), stats.prompt_tokens + stats.generation_tokens)
    names = ",".join(table.running_names)
    info = f'max_lora="{admission.max_loras}",running_lora_adapters="{names}",waiting_lora_adapters="{names}"'
    lines += ["# TYPE vllm:lora_requests_info gauge", f"vllm:lora_requests_info{{{info}}} {now}"]
    return "\n".join(lines) + "\n"


def _iterations(labels: str, count: int, tokens: int) -> list[str]:
    """Tokens per step. All in one bucket: the mock's steps have no sizes."""
    name = "vllm:iteration_tokens_total"
    return [
        f"# TYPE {name} histogram",
        f'{name}_bucket{{{labels},le="+Inf"}} {count}',
        f"{name}_sum{{{labels}}} {float(tokens)}",
        f"{name}_count{{{labels}}} {count}",
    ]
