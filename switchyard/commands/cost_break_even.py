"""`switchyard cost break-even`: from how many requests the engines that are there pay, for each tenant and for all."""

from __future__ import annotations

import typer

from switchyard.baseline_lookup import look_up
from switchyard.commands.cost_outlook import TenantOption
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry


def break_even(
    baseline: str | None = typer.Option(
        None, "--baseline", help="The API that is the alternative; default: gpt-5.4-mini."
    ),
    tenant: str | None = TenantOption,
    days: int = typer.Option(
        28, "--days", min=3, max=366, help="Whole days (UTC) that are looked at, yesterday the last."
    ),
    gpu_month: str | None = typer.Option(
        None, "--gpu-month", help="Dollars a month of all engines; default: their cost."
    ),
    idle: str | None = typer.Option(
        None, "--idle", help="Who pays for idle time: unallocated, by_share, equal, reserved; default: as it was put."
    ),
    price_version: str | None = typer.Option(None, "--price-version", help="At list prices as they were known then."),
    json_output: bool = JsonFlag,
) -> None:
    """Say from how many requests a month self-hosting pays, how tenants share it, and what follows if one leaves."""
    from gateway.cost.costing import named_idle
    from gateway.cost.list_prices import STAYS
    from gateway.cost.pool_words import document, notes, sentences
    from gateway.cost.pooling import PoolAsked, bill_given, pool_of
    from gateway.cost.scenario_words import dollars
    from registry.db import now_ms

    bill = None if gpu_month is None else bill_given(gpu_month)
    alternative = baseline or STAYS
    with open_registry() as registry:
        asked = PoolAsked(alternative, tenant, days, bill, named_idle(registry, idle), price_version)
        look_up(registry, [alternative], price_version)
        found = pool_of(registry, asked, now_ms())
    if json_output:
        print_json(document(found))
        return
    say(*sentences(found), "")
    never = "never"
    rows = [
        (
            one.tenant,
            f"{one.requests:,}",
            dollars(one.baseline_nano),
            dollars(one.loaded_nano),
            dollars(one.saved_nano),
            dollars(one.shapley_nano),
            never if one.alone is None else f"{one.alone:,}",
            never if one.shared is None else f"{one.shared:,}",
            None if one.more_like_it is None else f"{float(one.more_like_it):+,.1f}",
        )
        for one in found.pool.tenants
    ]
    print_table(
        ("TENANT", "REQUESTS", "API", "ENGINES", "SAVED", "FAIR SHARE", "ALONE", "SHARED", "MORE LIKE IT"), rows
    )
    say("", *(f"note: {one}" for one in notes(found)), f"prices: {found.price_version}")
