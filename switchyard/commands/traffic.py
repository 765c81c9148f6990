"""`switchyard traffic`: what came lately, how it ended and how long it took, over the admin API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from registry.days import when
from registry.words import many
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag, UrlOption
from switchyard.sparks import spark

CHARTS = (
    ("requests/s", "requests_per_s"),
    ("prompt tokens/s", "prompt_tokens_per_s"),
    ("completion tokens/s", "completion_tokens_per_s"),
    ("TTFT p50, ms", "ttft_p50_ms"),
    ("TTFT p95, ms", "ttft_p95_ms"),
    ("between tokens p50, ms", "inter_token_p50_ms"),
    ("between tokens p95, ms", "inter_token_p95_ms"),
)


def traffic(
    window_s: int = typer.Option(3600, "--window", help="So many seconds back, up to 86400."),
    step_s: int | None = typer.Option(None, "--step", help="Seconds of a step; default: 10, or 300 beyond an hour."),
    by: str = typer.Option("all", "--by", help="One line for each: all, endpoint, engine, tenant or adapter."),
    tenant: str | None = typer.Option(None, "--tenant", help="Only this tenant's."),
    adapter: str | None = typer.Option(None, "--adapter", help="Only this adapter's, or base model's."),
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Show requests, errors, latencies, what runs and waits, and loads, over all workers of a gateway."""
    from gateway.admin_client import admin_client

    with admin_client(url) as admin:
        document = admin.get("/traffic", window_s=window_s, step_s=step_s, by=by, tenant=tenant, adapter=adapter)
    if json_output:
        print_json(document)
        return
    say(
        f"gateway {document['gateway']}, {many(document['workers'], 'worker')}, "
        f"counted since {when(document['since_ms'])}; steps of {document['step_s']} s"
    )
    say()
    print_table(
        (
            by.upper(),
            "REQUESTS",
            "ERRORS",
            "TTFT P50",
            "P95",
            "BETWEEN TOKENS P50",
            "P95",
            "TOKENS",
            "CHARGED",
            "LATELY",
        ),
        (_row(line) for line in document["lines"]),
        empty="no request has ended since",
    )
    if len(document["lines"]) == 1:
        say()
        print_table(("", "LATELY", "MOST", "NOW"), _charts(document))


def _row(line: Mapping[str, Any]) -> tuple[object, ...]:
    whole = line["whole"]
    return (
        line["name"],
        whole["requests"],
        ", ".join(f"{count} {name}" for name, count in whole["outcomes"].items() if name != "ok") or None,
        _ms(whole["ttft_p50_ms"]),
        _ms(whole["ttft_p95_ms"]),
        _ms(whole["inter_token_p50_ms"]),
        _ms(whole["inter_token_p95_ms"]),
        whole["prompt_tokens"] + whole["completion_tokens"],
        f"${whole['cost_dollars']}",
        spark(line["requests_per_s"], 20),
    )


def _charts(document: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    line = document["lines"][0]
    for name, field in CHARTS:
        yield _chart(name, line[field])
    for outcome, values in line["errors_per_s"].items():
        yield _chart(f"{outcome}/s", values)
    for name, field in (("in flight", "in_flight"), ("queued in engines", "queued"), ("loads", "loads")):
        yield _chart(name, document[field])
    yield _chart("failed loads", document["failed_loads"])
    yield _chart("evictions", document["evictions"])


def _chart(name: str, values: list[float | None]) -> tuple[object, ...]:
    known = [value for value in values if value is not None]
    return (name, spark(values), _number(max(known, default=None)), _number(values[-1] if values else None))


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:g} ms"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
