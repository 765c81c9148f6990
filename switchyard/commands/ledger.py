"""`switchyard ledger`: prove that no usage is lost or counted twice, and correct what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from registry.money import nano_to_dollars
from switchyard.commands.ledger_archive import archive_ledger, archives_ledger, restore_ledger, verified_archives
from switchyard.commands.ledger_reconcile import reconcile_ledger
from switchyard.console import actor, print_done, print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.journal.verify import Verification
    from registry.ledger.corrections import Corrected

ledger = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Prove that usage is complete, and correct what is wrong."
)


@ledger.callback()
def group() -> None:
    """Prove that usage is complete, and correct what is wrong."""


ledger.command("reconcile")(reconcile_ledger)
ledger.command("archive")(archive_ledger)
ledger.command("archives")(archives_ledger)
ledger.command("restore")(restore_ledger)


@ledger.command("verify")
def verify_command(json_output: bool = JsonFlag) -> None:
    """Check the journal on disk, the rows it became, archives, and the logs of prices and engine costs; exit status 1
    says that something is wrong.
    """
    from gateway.journal.verify import verify

    with open_registry() as registry:
        found = verify(registry.settings.state_dir / "journal", registry.ledger)
        archives, faults = verified_archives(registry)
        logs = (registry.baselines, registry.engine_costs, registry.calibrations)
        problems = [*found.problems, *faults, *(fault for log in logs for fault in log.faults())]
    if json_output:
        print_json({**asdict(found), "archives": archives, "problems": problems})
    else:
        _print(found, archives, problems)
    if problems:
        raise typer.Exit(1)


@ledger.command()
def resum(json_output: bool = JsonFlag) -> None:
    """Make usage by day, which reports and budgets read, anew from the attempts: seconds for a million of them."""
    with open_registry() as registry:
        registry.ledger.sum_again()
    print_done({"summed_again": True}, "usage by day is the sum of its attempts again", json_output)


@ledger.command()
def correct(
    attempt: str = typer.Argument(help="The id of a request (x-request-id of its answer), or of an attempt."),
    reason: str = typer.Option(..., "--reason", help="Why the row is wrong."),
    prompt_tokens: int = typer.Option(0, "--prompt", help="Prompt tokens to add; negative to take off."),
    cached_tokens: int = typer.Option(0, "--cached", help="Cached prompt tokens to add."),
    completion_tokens: int = typer.Option(0, "--completion", help="Completion tokens to add."),
    cost_nano: int | None = typer.Option(
        None, "--cost-nano", help="Nano-dollars to add, 0 for none; default: what the tokens cost at the price of then."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Book a difference to an attempt. Its row stays as it is; sums have the correction in them."""
    from gateway.cost.correcting import reprice_by
    from registry.ledger.usage_record import CORRECTABLE

    tokens = {"prompt_tokens": prompt_tokens, "cached_tokens": cached_tokens, "completion_tokens": completion_tokens}
    deltas = tokens if cost_nano is None else {**tokens, "cost_nano": cost_nano}
    with open_registry() as registry:
        done = registry.ledger.correct(attempt, reason, actor(), deltas, reprice_by(registry.catalog()))
    booked = {name: done.after[name] - done.before[name] for name in CORRECTABLE}
    document = {**asdict(done), **booked}
    print_done(document, f"{done.attempt_id}: corrected, {reason}: {_changes(done)}", json_output)
    if done.unpriced is not None:
        say(
            f"the dollars stay at {nano_to_dollars(done.after['cost_nano'])}: {done.unpriced}; --cost-nano books a "
            "difference of your own",
            err=json_output,
        )


def _changes(done: Corrected) -> str:
    """What was booked and what is, of each figure that a correction can be about."""
    from registry.ledger.usage_record import TOKENS

    figures = [
        f"{name.replace('_', ' ')} {done.before[name]} → {done.after[name]}"
        for name in TOKENS
        if done.before[name] != done.after[name]
    ]
    old, new = (nano_to_dollars(figures["cost_nano"]) for figures in (done.before, done.after))
    return ", ".join([*figures, f"dollars {old} → {new}" if old != new else f"dollars {new} as before"])


def _print(found: Verification, archives: int, problems: Sequence[str]) -> None:
    say(
        f"{found.segments} segments on disk, {found.records} records, {found.running} attempts running, "
        f"{archives} archives read"
    )
    for problem in problems:
        say(f"wrong: {problem}")
    say(f"{len(problems)} problems" if problems else "all is right")
