"""`switchyard swaps`: what promotes and rollbacks did."""

from __future__ import annotations

import typer

from registry.console import JsonFlag, print_json, print_table, when
from registry.names import parse_ref

swaps = typer.Typer(add_completion=False, no_args_is_help=True, help="Show what promotes and rollbacks did.")


@swaps.command("list")
def list_swaps(
    name: str | None = typer.Argument(None, help="Only this tenant/adapter's."),
    limit: int = typer.Option(20, "--limit", min=1, help="How many, newest first."),
    json_output: bool = JsonFlag,
) -> None:
    """List swaps, newest first."""
    from registry.service import Registry

    with Registry.open() as registry:
        found = registry.swaps.recent(limit, parse_ref(name) if name else None)
    if json_output:
        print_json(found)
        return
    print_table(
        ("ID", "ALIAS", "FROM", "TO", "STATE", "REQUESTED", "SECONDS"),
        (
            (
                swap.id,
                f"{swap.adapter}@{swap.alias}",
                swap.detail.get("from"),
                swap.to_version,
                swap.state,
                when(swap.requested_at_ms),
                f"{(swap.finished_at_ms - swap.requested_at_ms) / 1000:.1f}" if swap.finished_at_ms else None,
            )
            for swap in found
        ),
        empty="no swap was ever asked for; `switchyard adapters promote` makes one",
    )


@swaps.command()
def show(swap_id: int = typer.Argument(help="The id that `swaps list` shows."), json_output: bool = JsonFlag) -> None:
    """Show a swap and the traffic around it: requests per version per second, failures, first and last of each."""
    from registry.service import Registry
    from registry.swap_report import report_swap

    with Registry.open() as registry:
        report = report_swap(registry.db, swap_id)
    if json_output:
        print_json(report)
        return
    swap = report.swap
    typer.echo(f"{swap.adapter}@{swap.alias}: {swap.detail.get('from') or 'nothing'} → {swap.to_version}, {swap.state}")
    for key in ("error", "note", "preload_s", "acknowledged_by", "ended_split"):
        if swap.detail.get(key) is not None:
            typer.echo(f"{key.replace('_', ' ')}: {swap.detail[key]}")
    print_table(
        ("VERSION", "REQUESTS", "FAILED", "FIRST", "LAST"),
        (
            (part.version, part.attempts, part.failed, when(part.first_ms), when(part.last_ms))
            for part in report.versions
        ),
        empty="no traffic within ten seconds of it",
    )
    if report.late_on_old is not None:
        typer.echo(f"on the old version after the cut-over: {report.late_on_old}")
