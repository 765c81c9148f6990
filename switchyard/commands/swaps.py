"""`switchyard swaps`: what promotes, rollbacks and ramps did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import when
from registry.names import parse_ref
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.swaps.report import SwapReport

SHOWN_AROUND_MS = 5_000
"""Seconds so close to the flip are shown to people; scripts get all."""

swaps = typer.Typer(add_completion=False, no_args_is_help=True, help="Show what promotes, rollbacks and ramps did.")


@swaps.command("list")
def list_swaps(
    name: str | None = typer.Argument(None, help="Only this tenant/adapter's."),
    limit: int = typer.Option(20, "--limit", min=1, help="How many, newest first."),
    json_output: bool = JsonFlag,
) -> None:
    """List swaps, newest first."""
    with open_registry() as registry:
        found = registry.swaps.recent(limit, parse_ref(name) if name else None)
    if json_output:
        print_json(found)
        return
    print_table(
        ("ID", "KIND", "ALIAS", "FROM", "TO", "STATE", "REQUESTED", "SECONDS"),
        (
            (
                swap.id,
                swap.kind,
                f"{swap.adapter}@{swap.alias}",
                swap.detail.get("from"),
                swap.goal,
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
    """Show a swap, how long its steps took, and the traffic around it, by version and by second."""
    from registry.swaps.report import report_swap
    from registry.swaps.words import swap_said

    with open_registry() as registry:
        report = report_swap(registry.db, swap_id)
    if json_output:
        print_json(report)
        return
    swap = report.swap
    for line in swap_said(swap):
        say(line)
    if report.skew is not None:
        say(f"warning: {report.skew}")
    _print_steps(report)
    print_table(
        ("VERSION", "ATTEMPTS", "FAILED", "FIRST", "LAST"),
        (
            (part.version, part.attempts, part.failed, when(part.first_ms), when(part.last_ms))
            for part in report.versions
        ),
        empty="no traffic within ten seconds of it",
    )
    if (flipped_ms := swap.detail.get("flipped_at_ms")) is not None and report.per_second:
        say()
        print_table(
            ("SECOND", "VERSION", "ATTEMPTS", "FAILED"),
            (
                (when(count.second_ms), count.served_model, count.attempts, count.failed)
                for count in report.per_second
                if abs(count.second_ms - flipped_ms) <= SHOWN_AROUND_MS
            ),
            empty="no traffic around the flip; --json has every second",
        )
    if report.late_on_old is not None:
        say(f"requests that began on the old version after the cut-over: {report.late_on_old}")


def _print_steps(report: SwapReport) -> None:
    steps = (("preload", report.preload_s), ("cut-over", report.cutover_s), ("drain", report.drain_s))
    taken = [f"{name} {seconds:.2f} s" for name, seconds in steps if seconds is not None]
    if taken:
        say(", ".join(taken))
    for one in report.acknowledged:
        say(f"acknowledged by {one.worker} {one.after_flip_s:.3f} s after the flip")
    for worker in report.not_acknowledged_by:
        say(f"not acknowledged in time by {worker}")
    if report.left_on_old:
        say(f"requests that still ran on the old version when it was no longer waited for: {report.left_on_old}")
    if report.drain_s is not None and report.left_on_old is None:
        say("how many requests still ran on the old version then is not known: a worker had not said")
