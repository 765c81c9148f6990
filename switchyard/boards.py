"""Dashboards of Grafana, as JSON that it provisions; `python -m switchyard.reference` writes deploy/grafana/dashboards.

Tests run every query against a Prometheus that scrapes a gateway.
"""

from __future__ import annotations

from switchyard.grafana import Board, Panel

OF = '{instance=~"$instance"}'
FAILED = ', outcome=~"failed|unavailable|broken_off"'


def _rate(name: str, by: str, more: str = "") -> str:
    return f'sum by ({by}) (rate({name}{{instance=~"$instance"{more}}}[$__rate_interval]))'


def _quantile(part: float, name: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({part:g}, {_rate(f'{name}_bucket', labels)})"


def _max(name: str, by: str) -> str:
    """Of the fleet: every gateway says the same."""
    return f"max by ({by}) ({name}{OF})"


OPERATIONS = Board(
    "switchyard-operations",
    "Switchyard: operations",
    (
        Panel(
            "Requests by outcome",
            "reqps",
            ((_rate("switchyard_requests_total", "outcome"), "{{outcome}}"),),
            "client_aborted: the client left; limited: 429; refused: other 4xx; unavailable: 503; failed: other 5xx; "
            "broken_off: a stream that ended with an error.",
            stacked=True,
        ),
        Panel(
            "Errors",
            "percentunit",
            (
                (
                    f"{_rate('switchyard_requests_total', 'instance', FAILED)}"
                    f" / {_rate('switchyard_requests_total', 'instance')}",
                    "{{instance}}",
                ),
            ),
            "Share of requests that failed on our side.",
        ),
        Panel("Refusals by reason", "reqps", ((_rate("switchyard_refusals_total", "reason"), "{{reason}}"),)),
        Panel(
            "Time to first token",
            "s",
            (
                (_quantile(0.5, "switchyard_ttft_seconds"), "p50"),
                (_quantile(0.95, "switchyard_ttft_seconds"), "p95"),
                (_quantile(0.99, "switchyard_ttft_seconds"), "p99"),
            ),
            "Of streamed answers.",
        ),
        Panel(
            "Time between tokens",
            "s",
            (
                (_quantile(0.5, "switchyard_inter_token_seconds"), "p50"),
                (_quantile(0.95, "switchyard_inter_token_seconds"), "p95"),
            ),
            "Mean of each streamed answer.",
        ),
        Panel(
            "The gateway's own part",
            "s",
            (
                (_quantile(0.5, "switchyard_overhead_seconds"), "p50"),
                (_quantile(0.95, "switchyard_overhead_seconds"), "p95"),
            ),
            "From the end of a request's body to its first attempt on an engine.",
        ),
        Panel(
            "In flight",
            "short",
            (
                (f"sum by (instance) (switchyard_in_flight_requests{OF})", "{{instance}}"),
                (_max("switchyard_engine_in_flight_requests", "engine"), "on {{engine}}"),
            ),
        ),
        Panel(
            "Queues of engines",
            "short",
            (
                (_max("switchyard_engine_waiting_requests", "engine"), "waiting in {{engine}}"),
                (_max("switchyard_engine_running_requests", "engine"), "running in {{engine}}"),
            ),
        ),
        Panel(
            "Waits in the gateway",
            "s",
            ((_quantile(0.95, "switchyard_queue_seconds", "cause"), "p95 for {{cause}}"),),
            "Of requests that had to wait: for a load of their adapter, or an engine that comes back.",
        ),
        Panel(
            "Engines",
            "short",
            (
                (f"sum(max by (engine) (switchyard_engine_up{OF}))", "take traffic"),
                (f"sum(max by (engine) (switchyard_engine_refused{OF}))", "refused"),
                (f"count(max by (engine) (switchyard_engine_up{OF}))", "in all"),
            ),
            kind="stat",
        ),
        Panel("KV cache", "percentunit", ((_max("switchyard_engine_kv_cache_ratio", "engine"), "{{engine}}"),)),
        Panel("Tokens", "short", ((_rate("switchyard_tokens_total", "kind"), "{{kind}} a second"),)),
        Panel(
            "Workers",
            "short",
            (
                (f"switchyard_workers{OF}", "{{instance}}"),
                (f"switchyard_catalog_lapsed_workers{OF}", "out of touch: {{instance}}"),
                (f"switchyard_controller_linked{OF}", "have a leader: {{instance}}"),
            ),
            kind="stat",
        ),
        Panel(
            "Processor of workers",
            "percentunit",
            ((_rate("switchyard_cpu_seconds_total", "instance"), "{{instance}}"),),
        ),
        Panel("Memory of workers", "decbytes", ((f"switchyard_resident_memory_bytes{OF}", "{{instance}}"),)),
        Panel(
            "Duties and background work that fail",
            "short",
            (
                (f"sum(1 - {_max('switchyard_duty_up', 'duty')})", "duties of the leader"),
                (f"sum(1 - min by (work) (switchyard_background_up{OF}))", "works of workers"),
            ),
            kind="stat",
        ),
        Panel(
            "Usage that waits for the database", "bytes", ((f"switchyard_journal_unshipped_bytes{OF}", "{{instance}}"),)
        ),
        Panel(
            "Disk",
            "percentunit",
            ((f"1 - switchyard_disk_free_bytes{OF} / switchyard_disk_size_bytes{OF}", "{{instance}}"),),
            "Used, where state_dir is.",
        ),
    ),
)
ADAPTERS = Board(
    "switchyard-adapters",
    "Switchyard: adapters",
    (
        Panel(
            "Requests by adapter",
            "reqps",
            ((_rate("switchyard_adapter_requests_total", "adapter"), "{{adapter}}"),),
            "Those with the most by name (metrics_top_adapters, metrics_adapters); all others are _other.",
            stacked=True,
            width=12,
        ),
        Panel(
            "Errors by adapter",
            "reqps",
            (
                (
                    _rate("switchyard_adapter_requests_total", "adapter, outcome", ', outcome!~"ok|client_aborted"'),
                    "{{adapter}} {{outcome}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Time to first token, p95",
            "s",
            ((_quantile(0.95, "switchyard_adapter_ttft_seconds", "adapter"), "{{adapter}}"),),
            width=12,
        ),
        Panel(
            "Tokens by adapter",
            "short",
            ((_rate("switchyard_adapter_tokens_total", "adapter"), "{{adapter}} a second"),),
            width=12,
        ),
        Panel("Adapters on engines", "short", ((_max("switchyard_resident_adapters", "engine"), "{{engine}}"),)),
        Panel("Places of engines", "short", ((_max("switchyard_engine_adapter_places", "engine"), "{{engine}}"),)),
        Panel(
            "Quarantined versions", "short", ((f"max(switchyard_quarantined_versions{OF})", "versions"),), kind="stat"
        ),
        Panel(
            "Loads",
            "short",
            (
                (
                    f"sum by (engine, result) (increase(switchyard_loads_total{OF}[$__rate_interval]))",
                    "{{engine}} {{result}}",
                ),
                (f"sum by (engine) (increase(switchyard_evictions_total{OF}[$__rate_interval]))", "{{engine}} evicted"),
            ),
        ),
        Panel("Load time, p95", "s", ((_quantile(0.95, "switchyard_load_seconds", "engine"), "{{engine}}"),)),
        Panel(
            "Requests counted without a name",
            "reqps",
            ((_rate("switchyard_metrics_dropped_total", "label"), "{{label}}"),),
            "Much of it: raise metrics_top_adapters or metrics_top_tenants.",
        ),
    ),
)
COST = Board(
    "switchyard-cost",
    "Switchyard: cost",
    (
        Panel(
            "Charged in the window, by tenant",
            "currencyUSD",
            ((f"sum by (tenant) (increase(switchyard_tenant_cost_dollars_total{OF}[$__range]))", "{{tenant}}"),),
            "By the tariff, without corrections: `switchyard cost report` is the truth.",
            kind="bargauge",
            width=12,
        ),
        Panel(
            "Charged in the window, by adapter",
            "currencyUSD",
            ((f"sum by (adapter) (increase(switchyard_adapter_cost_dollars_total{OF}[$__range]))", "{{adapter}}"),),
            kind="bargauge",
            width=12,
        ),
        Panel(
            "Dollars an hour, by tenant",
            "currencyUSD",
            (
                (
                    f"3600 * {_rate('switchyard_tenant_cost_dollars_total', 'tenant')}",
                    "{{tenant}}",
                ),
            ),
            stacked=True,
            width=12,
        ),
        Panel(
            "Tokens by tenant",
            "short",
            ((_rate("switchyard_tenant_tokens_total", "tenant, kind"), "{{tenant}} {{kind}} a second"),),
            width=12,
        ),
        Panel(
            "Requests by tenant",
            "reqps",
            ((_rate("switchyard_tenant_requests_total", "tenant"), "{{tenant}}"),),
            width=12,
        ),
        Panel(
            "Time to first token by tenant, p95",
            "s",
            ((_quantile(0.95, "switchyard_tenant_ttft_seconds", "tenant"), "{{tenant}}"),),
            width=12,
        ),
        Panel(
            "Budgets: what is left",
            "percentunit",
            ((_max("switchyard_budget_left_ratio", "scope, window, unit"), "{{scope}} {{window}} {{unit}}"),),
            "The 20 nearest to their end, and those of named tenants.",
            width=12,
        ),
        Panel(
            "Usage without a price, or without a count",
            "short",
            (
                (f"max(switchyard_usage_unpriced_attempts{OF})", "attempts of today without a price"),
                (f"max(switchyard_usage_unsettled_attempts{OF})", "attempts of today without a count"),
            ),
            kind="stat",
            width=6,
        ),
        Panel(
            "Tokens that the ledger cannot explain",
            "short",
            ((_max("switchyard_reconciliation_unexplained_tokens", "engine"), "{{engine}}"),),
            "Of the last hour.",
            width=6,
        ),
    ),
)
EXPERIMENTS = Board(
    "switchyard-experiments",
    "Switchyard: experiments",
    (
        Panel(
            "Effect on the primary metric, with its confidence sequence",
            "short",
            ((_max("switchyard_experiment_effect", "experiment, arm, bound"), "{{experiment}} {{arm}} {{bound}}"),),
            "The arm less the control, in the metric's unit; low and high hold at every look.",
            width=24,
        ),
        Panel(
            "Units that have met each arm",
            "short",
            ((_max("switchyard_experiment_units", "experiment, arm"), "{{experiment}} {{arm}}"),),
            width=12,
        ),
        Panel(
            "Part of the traffic",
            "percentunit",
            ((_max("switchyard_experiment_weight_ratio", "experiment, arm"), "{{experiment}} {{arm}}"),),
            stacked=True,
            width=12,
        ),
        Panel(
            "Split otherwise than the weights say",
            "short",
            ((_max("switchyard_experiment_ratio_alarm", "experiment"), "{{experiment}}"),),
            "1: sample ratio mismatch; the figures cannot be believed.",
            kind="stat",
            width=12,
        ),
        Panel(
            "Answers looked at, and copies",
            "reqps",
            (
                (_rate("switchyard_sampled_answers_total", "became"), "answer {{became}}"),
                (_rate("switchyard_shadow_copies_total", "result"), "copy {{result}}"),
            ),
            width=12,
        ),
    ),
)
BOARDS = (OPERATIONS, ADAPTERS, COST, EXPERIMENTS)
