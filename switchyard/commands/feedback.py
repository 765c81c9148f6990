"""`switchyard feedback`: how much is kept of what came of answers, and deleting it."""

from __future__ import annotations

import typer

from registry.days import DAY_MS
from registry.names import parse_whole_adapter
from switchyard.console import actor, print_done, print_json, print_table
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

feedback = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Count and delete what came of tenants' answers: feedback, findings, verdicts of judges.",
)


@feedback.command("list")
def list_outcomes(
    tenant: str | None = typer.Option(None, help="Only of this tenant."), json_output: bool = JsonFlag
) -> None:
    """Count them by tenant and source."""
    with open_registry() as registry:
        if tenant is not None:
            registry.tenants.get(tenant)
        amounts = registry.outcome_retention.amounts(tenant)
    if json_output:
        print_json([{"tenant": owner, "source": source, "outcomes": outcomes} for owner, source, outcomes in amounts])
        return
    print_table(("TENANT", "SOURCE", "OUTCOMES"), amounts, empty="nothing is known of any answer")


@feedback.command("export")
def export_outcomes(
    name: str = typer.Argument(help="tenant/adapter."),
    after: int = typer.Option(0, min=0, help="Only those behind this id: the last one of an export before."),
    limit: int = typer.Option(10_000, min=1, max=100_000, help="At most so many."),
) -> None:
    """Print an adapter's outcomes as a JSON list in the order in which they came, without labels and comments."""
    ref = parse_whole_adapter(name)
    with open_registry() as registry:
        rows = registry.outcomes.exported(ref, after, limit)
    print_json([row._asdict() for row in rows])


@feedback.command("delete")
def delete_outcomes(
    tenant: str = typer.Option(..., help="Whose they are."),
    older_than_days: int = typer.Option(0, min=0, help="Only what is older; 0: all of it."),
    json_output: bool = JsonFlag,
) -> None:
    """Delete what came of a tenant's answers, for good. What experiments have made of it stays."""
    from registry.db import now_ms

    with open_registry() as registry:
        before_ms = now_ms() - older_than_days * DAY_MS if older_than_days else None
        deleted = registry.outcome_retention.delete(tenant, before_ms, actor=actor())
    print_done({"tenant": tenant, "deleted": deleted}, f"deleted {deleted} of {tenant}", json_output)
