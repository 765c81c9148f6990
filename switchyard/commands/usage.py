"""`switchyard usage`: who used what, for people, scripts and spreadsheets."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from registry.days import window_ms
from registry.errors import InvalidInput
from switchyard.console import print_csv, print_json, print_table
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.ledger.usage_report import UsageReport


def usage(
    by: str = typer.Option("tenant", "--by", help="tenant, adapter, version, key, day, split or arm."),
    tenant: str | None = typer.Option(None, "--tenant", help="Only this tenant's; _system is what our probes used."),
    since: str | None = typer.Option(None, "--from", help="First day, YYYY-MM-DD (UTC); default: the beginning."),
    until: str | None = typer.Option(None, "--until", help="YYYY-MM-DD (UTC), exclusive; default: now."),
    json_output: bool = JsonFlag,
    csv_output: bool = typer.Option(False, "--csv", help="Print CSV with a heading."),
) -> None:
    """Attempts, tokens and dollars by tenant, adapter, version, key, day, split or arm; up to a second or two ago.

    Attempts FAILED on our side (engine, load, gateway) or were INVALID (an engine said so; `rejected` in JSON). Those
    that were REFUSED (by a limit, a budget, for their body) never became attempts. – is the cost of what had no price.
    """
    from registry.db import now_ms
    from registry.ledger.usage_report import report_usage, usage_csv

    if json_output and csv_output:
        raise InvalidInput("--json and --csv are both given; choose one", param="csv")
    with open_registry() as registry:
        since_ms, until_ms = window_ms(since, until, (0, now_ms()))
        tenants = None if tenant is None else [tenant]
        report = report_usage(registry.db, by, since_ms=since_ms, until_ms=until_ms, tenants=tenants)
    if json_output:
        lines = [{**asdict(line), "cost_dollars": line.cost_dollars} for line in report.lines]
        print_json({**asdict(report), "lines": lines})
    elif csv_output:
        print_csv(usage_csv(report.lines))
    else:
        _print(report)


def _print(report: UsageReport) -> None:
    from registry.ledger.usage_report import reasons_said

    own_column = report.by != "tenant"
    print_table(
        (*(("TENANT",) if own_column else ()), report.by.upper(), "ATTEMPTS", "OK", "CLIENT LEFT", "KEY OVER",
         "FAILED", "INVALID", "PROMPT", "CACHED", "COMPLETION", "COST $", "UNPRICED", "PARTIAL", "ESTIMATED",
         "TTFT MS", "REFUSED", "WHY"),
        (
            (*((line.tenant or "all",) if own_column else ()), line.name, line.attempts, line.ok, line.client_aborted,
             line.key_revoked, line.failed, line.rejected, line.prompt_tokens, line.cached_tokens,
             line.completion_tokens, line.cost_dollars, line.unpriced, line.partial, line.estimated, line.ttft_ms,
             line.refused, reasons_said(line) or None)
            for line in report.lines
        ),
        empty="no usage in this window",
    )  # fmt: skip
