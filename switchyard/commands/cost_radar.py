"""`switchyard cost radar`: which models vendors switch off, who depends on them, and the way out."""

from __future__ import annotations

import typer

from registry.days import MOST_DAYS, date_of, day_number
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry


def radar(
    days: int | None = typer.Option(
        None, "--days", min=0, max=MOST_DAYS, help="Look so far; default: SWITCHYARD_RETIREMENT_NOTICE_DAYS."
    ),
    tenant: str | None = typer.Option(None, "--tenant", help="Its names alone."),
    json_output: bool = JsonFlag,
) -> None:
    """List tenants' names and baselines whose models end at their vendors, or have ended lately, with the way out."""
    from registry.prices.radar import document

    with open_registry() as registry:
        within = registry.settings.retirement_notice_days if days is None else days
        found = registry.radar.within(within, tenant)
    if json_output:
        print_json([document(one) for one in found])
        return
    print_table(
        ("ENDS", "IN DAYS", "TENANT", "NAME", "SUBSTITUTE", "WAY OUT"),
        (
            (
                date_of(day_number(one.ends_at_ms)),
                one.days_left if one.days_left >= 0 else "over",
                one.tenant or "baseline",
                one.name,
                one.substitute or "–",
                one.exit,
            )
            for one in found
        ),
        empty=f"nothing that is known of ends within {within} days",
    )
    if found:
        say("Where a day is from: `switchyard cost baselines show NAME`.")
