"""Every metric that `/metrics` has: its name, type, labels and meaning. docs/metrics.md is made from this.

Names are Prometheus' way: base units (seconds, bytes, dollars), `_total` for counters. A label's values are bounded, as
each line says where it is not plain: see `gateway.metrics.naming` for tenants and adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.metrics.layout import LONG_S, OWN_S, TOKEN_S

Kind = Literal["counter", "gauge", "histogram"]
Of = Literal["gateway", "fleet", "process"]
"""Of what it is: of all workers of the gateway, as the leader adds them up; of the whole fleet, as the leader knows it;
or what the process that answers knows, which is the same in all. Those of a process are there without a leader too.
"""


Join = Literal["sum", "min", "max"]
"""How a gauge of the gateway is made of those of its workers."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    text: str
    """Its meaning, as one sentence."""
    of: Of
    buckets: tuple[float, ...] = ()
    """Of a histogram: the most seconds of each but the last."""
    join: Join = "sum"

    @property
    def unit(self) -> str:
        """As the name says."""
        plain = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes", "dollars", "ratio") if plain.endswith(f"_{unit}")), "–")


def _counter(name: str, labels: str, text: str, of: Of = "gateway") -> Family:
    return Family(f"switchyard_{name}_total", "counter", tuple(labels.split()), text, of)


def _gauge(name: str, labels: str, text: str, of: Of, join: Join = "sum") -> Family:
    return Family(f"switchyard_{name}", "gauge", tuple(labels.split()), text, of, join=join)


def _times(name: str, labels: str, text: str, buckets: tuple[float, ...], of: Of = "gateway") -> Family:
    return Family(f"switchyard_{name}_seconds", "histogram", tuple(labels.split()), text, of, buckets)


REQUESTS = _counter(
    "requests",
    "endpoint outcome status",
    "Requests that ended. outcome: ok, client_aborted (499), limited (429), refused (other 4xx), unavailable (503), "
    "failed (other 5xx), broken_off (a stream that ended with an error). status: as the client saw it.",
)
TTFT = _times("ttft", "endpoint", "Time to first token: from a streamed request to its answer's first byte.", LONG_S)
INTER_TOKEN = _times(
    "inter_token", "endpoint", "Mean time between two tokens of a streamed answer, a value for each answer.", TOKEN_S
)
OVERHEAD = _times(
    "overhead",
    "endpoint",
    "The gateway's own part of a request: from the end of its body to its first attempt on an engine.",
    OWN_S,
)
TOOK = _times("request", "endpoint", "From a request's first byte to its answer's last.", LONG_S)
TOKENS = _counter("tokens", "kind", "Tokens as engines report them. kind: prompt, cached (of prompts), completion.")
ENGINE_REQUESTS = _counter(
    "engine_requests", "engine outcome", "Requests by the engine of their last attempt; engine: its URL."
)
TENANT_REQUESTS = _counter("tenant_requests", "tenant outcome", "Requests by tenant; tenant: a few by name, or _other.")
TENANT_TOKENS = _counter("tenant_tokens", "tenant kind", "Tokens by tenant.")
TENANT_COST = _counter("tenant_cost_dollars", "tenant", "Charged to tenants, by the tariff; without corrections.")
TENANT_TTFT = _times("tenant_ttft", "tenant", "Time to first token by tenant.", LONG_S)
ADAPTER_REQUESTS = _counter(
    "adapter_requests",
    "adapter outcome",
    "Requests by tenant/adapter or base model; adapter: a few by name, or _other.",
)
ADAPTER_TOKENS = _counter("adapter_tokens", "adapter kind", "Tokens by adapter.")
ADAPTER_COST = _counter("adapter_cost_dollars", "adapter", "Charged for adapters, by the tariff; without corrections.")
ADAPTER_TTFT = _times("adapter_ttft", "adapter", "Time to first token by adapter.", LONG_S)
DROPPED = _counter(
    "metrics_dropped", "label", "Requests that were counted as _other, for want of a name. label: tenant or adapter."
)
QUEUE = _times(
    "queue",
    "cause",
    "What requests waited in the gateway, of those that did. cause: load (of their adapter), proof (that it works "
    "there), slot (to run among an engine's adapters), turn (at engines that are full), engine (that comes back), "
    "desk (where large bodies are read, one at a time).",
    LONG_S,
)
STRANGERS = _counter(
    "strangers",
    "api answer",
    "Requests without a valid key. api: admin, tenant. answer: refused, slowed (too many of their address).",
)
REFUSALS = _counter(
    "refusals",
    "reason",
    "Requests that were refused before an engine was asked, by the limit or else the error's code.",
)
SLOWED = _counter(
    "slowed_refusals",
    "",
    "Requests that were refused for their own tenant's load (429) faster than it may hear of it, and were told late.",
)
COPIES = _counter(
    "shadow_copies",
    "result",
    "Requests that were to be copied to a candidate: paired, or the cause for which a side is missing.",
)
SAMPLED = _counter("sampled_answers", "became", "Answers that were to be looked at, by what became of it.")
RESTARTS = _counter(
    "background_restarts", "work", "How often a work of a process ended with an error and was begun again."
)
SPANS = _counter(
    "spans",
    "became",
    "Spans that have ended. became: told to the collector, dropped because too many waited, refused when it was "
    "away or did not take them.",
)
CPU = _counter("cpu_seconds", "", "Processor time of the gateway's workers.")
IN_FLIGHT = _gauge("in_flight_requests", "", "Requests that have not ended, wherever they wait.", "gateway")
LINE = _gauge("line_requests", "", "Requests that wait in workers, as all engines are full.", "gateway")
SLOTLESS = _gauge(
    "slot_waiting_requests", "", "Requests that wait in workers until their adapter may run on its engine.", "gateway"
)
LINE_OLDEST = _gauge("line_oldest_seconds", "", "How long whichever of them has waited longest has.", "gateway", "max")
WORKERS = _gauge("workers", "", "Workers that the leader has heard of in the last 10 s.", "gateway")
RSS = _gauge("resident_memory_bytes", "", "Memory of the gateway's workers.", "gateway")
OPEN_FILES = _gauge("open_files", "", "Open files of the gateway's workers.", "gateway")
UNSHIPPED = _gauge("journal_unshipped_bytes", "", "Usage that waits for the database, over all workers.", "gateway")
REVISION = _gauge("catalog_revision", "", "Catalog revision in force: the oldest of the workers.", "gateway", "min")
LAPSED = _gauge(
    "catalog_lapsed_workers",
    "",
    "Workers that were out of touch for too long and serve nothing until they know.",
    "gateway",
)
UNIT_SHARE = _gauge(
    "split_largest_unit_ratio",
    "",
    "Of the split with the most uneven traffic: the share, 0 to 1, of its requests that are one unit.",
    "gateway",
    "max",
)
BACKGROUND_UP = _gauge(
    "background_up",
    "work",
    "1 when this work goes on in every worker; 0 when it ended with an error in one and has only just begun again.",
    "gateway",
    "min",
)
SINCE = _gauge(
    "counted_since_timestamp_seconds",
    "",
    "When the leader's term began, with which what is of the gateway or of the fleet is counted anew.",
    "fleet",
)
LOADS = _counter(
    "loads",
    "engine result",
    "Loads of adapters that ended. result: ok, failed, or refused, as too many of one tenant waited for their turn.",
    "fleet",
)
LOADING = _gauge("engine_loads", "engine", "Loads of adapters that run on an engine, or wait for their turn.", "fleet")
LOAD_TIME = _times(
    "load", "engine", "What loads of adapters took that went well, until the engine had proven them.", LONG_S, "fleet"
)
BREACHES = _counter(
    "engine_breaches",
    "engine breach",
    "Answers of an engine that none of its kind gives, by what was wrong: `gateway/breaches.py` has all. After some of "
    "them within a minute the engine is refused.",
    "fleet",
)
EVICTIONS = _counter("evictions", "engine", "Adapters that an engine had to give up to have room for others.", "fleet")
ENGINE_IN_FLIGHT = _gauge("engine_in_flight_requests", "engine", "Requests that workers have on an engine.", "fleet")
RUNNING = _gauge("engine_running_requests", "engine", "Requests in an engine's batch, as it says; of anybody.", "fleet")
WAITING = _gauge("engine_waiting_requests", "engine", "Requests in an engine's queue, as it says; of anybody.", "fleet")
KV = _gauge("engine_kv_cache_ratio", "engine", "Part of an engine's KV cache in use, 0 to 1.", "fleet")
PLACES = _gauge("engine_adapter_places", "engine", "Adapters that an engine may hold at once.", "fleet")
DUTY_UP = _gauge(
    "duty_up", "duty", "1 when the leader's duty was done when it was due last, 0 when it failed.", "fleet"
)
DUTY_FAILURES = _counter("duty_failures", "duty", "How often the leader's duty failed.", "fleet")
BUDGET_LEFT = _gauge(
    "budget_left_ratio",
    "scope window unit",
    "Part of a budget that is not spent, 0 to 1, by the ledger; the 20 nearest to their end, and those of tenants "
    "that are named always. scope: tenant:…, key:… or adapter:…; window: daily or monthly; unit: dollars or tokens.",
    "fleet",
)
EXPERIMENT_UNITS = _gauge(
    "experiment_units", "experiment arm", "Units that have met an arm of an experiment under way; at most 20.", "fleet"
)
EXPERIMENT_WEIGHT = _gauge("experiment_weight_ratio", "experiment arm", "Part of the traffic that an arm has.", "fleet")
EXPERIMENT_EFFECT = _gauge(
    "experiment_effect",
    "experiment arm bound",
    "The primary metric of an arm less the control's, as the confidence sequence has it, in the metric's unit. bound: "
    "estimate, low or high.",
    "fleet",
)
EXPERIMENT_ALARM = _gauge(
    "experiment_ratio_alarm", "experiment", "1 when units are not split as the weights say (SRM).", "fleet"
)
UNPRICED = _gauge(
    "usage_unpriced_attempts",
    "",
    "Attempts of today (UTC) that somebody would pay for, and that no price is known of.",
    "fleet",
)
UNSETTLED = _gauge(
    "usage_unsettled_attempts",
    "",
    "Attempts of today (UTC) that an engine worked on and of which nobody knows the tokens, but what clients left.",
    "fleet",
)
GAP = _gauge(
    "reconciliation_unexplained_tokens",
    "engine",
    "Tokens that an engine has counted in the last hour and the ledger cannot explain; negative: the ledger has more.",
    "fleet",
)
RETIREMENT = _gauge(
    "retirement_seconds",
    "model",
    "Seconds until a vendor ends a model that names or baselines here depend on, within the notice; at most 20.",
    "fleet",
)
TRAINING_JOBS = _gauge(
    "training_jobs",
    "status",
    "Fine-tuning jobs that have not ended. status: validating_files, queued, running or paused.",
    "fleet",
)
TRAINING_WAIT = _gauge(
    "training_wait_seconds",
    "",
    "How long the fine-tuning job that has waited longest for a trainer has; 0: none waits.",
    "fleet",
)
TRAINING_LOSS = _gauge(
    "training_loss",
    "job adapter rows",
    "Newest loss of a training, in nats per answer token; of the 20 newest that run. rows: learnt or heldout.",
    "fleet",
)
TRAINING_DONE = _gauge(
    "training_done_ratio", "job adapter", "Part of a training's steps that are done, 0 to 1.", "fleet"
)
TRAINING_LEFT = _gauge("training_left_seconds", "job adapter", "What a training will take yet, at its pace.", "fleet")
TRAINING_PACE = _gauge(
    "training_tokens_per_second", "job adapter", "Tokens that a training reads in a second.", "fleet"
)
TRAINING_RATE = _gauge("training_learning_rate", "job adapter", "Learning rate of a training's newest step.", "fleet")
TRAINING_NORM = _gauge(
    "training_gradient_norm", "job adapter", "Norm of a training's newest gradient, before it is shortened.", "fleet"
)
FACTS_AGE = _gauge(
    "facts_age_seconds",
    "",
    "Seconds since the leader read budgets, experiments, usage and fine-tuning jobs from the database.",
    "fleet",
)
BUILD = _gauge("build_info", "version python", "Always 1; says what runs.", "process")
LINKED = _gauge("controller_linked", "", "1 when the worker that answers has a leader.", "process")
ENGINE_UP = _gauge("engine_up", "engine", "1 when the engine takes traffic.", "process")
ENGINE_REFUSED = _gauge(
    "engine_refused", "engine", "1 when the engine works and must not serve: /readyz says why.", "process"
)
RESIDENT = _gauge("resident_adapters", "engine", "Adapters that an engine holds.", "process")
QUARANTINED = _gauge("quarantined_versions", "", "Versions that no engine may have.", "process")
DISK_FREE = _gauge("disk_free_bytes", "", "Room where state_dir is, for this user.", "process")
DISK_SIZE = _gauge("disk_size_bytes", "", "Size of the file system where state_dir is.", "process")

FAMILIES: tuple[Family, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Family))
"""All of them, in this order."""
BY_NAME = {family.name: family for family in FAMILIES}
