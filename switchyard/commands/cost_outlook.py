"""`switchyard cost forecast` and `anomalies`: what months will come to, and days that were unlike the others."""

from __future__ import annotations

import typer

from switchyard.baseline_lookup import look_up
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

MostOption = typer.Option(None, "--most", min=1, help="Only so many tenants: those that were charged most this month.")
TenantOption = typer.Option(None, "--tenant", help="Only this tenant.")


def forecast(
    tenant: str | None = TenantOption,
    most: int | None = MostOption,
    baselines: list[str] = typer.Option(
        [], "--baseline", help="What it would come to there; several times for several."
    ),
    price_version: str | None = typer.Option(None, "--price-version", help="At list prices as they were known then."),
    json_output: bool = JsonFlag,
) -> None:
    """Say what each tenant's month will come to, with the interval in which nine of ten months end."""
    from gateway.cost.outlook import forecasts
    from gateway.cost.outlook_words import MODEL, end_said, forecast_document
    from gateway.cost.scenario_words import dollars
    from registry.days import as_datetime
    from registry.db import now_ms

    with open_registry() as registry:
        look_up(registry, baselines, price_version)
        found = forecasts(
            registry, now_ms(), tenant=tenant, most=most, baselines=baselines, price_version=price_version
        )
    if json_output:
        print_json(forecast_document(found))
        return
    rows = [
        (
            one.tenant,
            f"{one.requests:,}",
            None if one.tariff is None else dollars(one.tariff.booked_nano),
            end_said(one.tariff, "unpriced"),
            None if one.engine_cost is None else end_said(one.engine_cost, "uncosted"),
            *(end_said(end, "unlisted") for end in one.baselines.values()),
            f"{one.unpriced:,}",
        )
        for one in found.tenants
    ]
    names = list(dict.fromkeys(baselines))
    say(
        f"{as_datetime(found.month_starts_ms):%B %Y} (UTC), at the tariff, for engines"
        + (f" and on {', '.join(names)}" if names else ""),
        "",
    )
    headings = (
        "TENANT",
        "REQUESTS",
        "BOOKED",
        "MONTH'S END",
        "ENGINE COST",
        *(name.upper() for name in names),
        "UNPRICED",
    )
    print_table(headings, rows, empty="no usage in the last 91 days")
    if left_out := found.of_tenants - len(found.tenants):
        say("", f"and {left_out:,} more, charged less")
    say("", f"model: {MODEL}")
    if found.engine_uncosted:
        say(f"engine cost: {found.engine_uncosted:,} attempts on engines without a cost are not in it")
    if names:
        say(f"prices: {found.price_version}; tokens: {found.tokens}")


def anomalies(
    tenant: str | None = TenantOption,
    days: int = typer.Option(
        1, "--days", min=1, max=31, help="Whole days (UTC) that are looked at, yesterday the last."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Say which tenants cost much more on a day than was to be expected, and what made the difference."""
    from gateway.cost.outlook import jumps
    from gateway.cost.outlook_words import amount_said, jump_document, jump_said
    from registry.db import now_ms

    with open_registry() as registry:
        found = jumps(registry, now_ms(), tenant=tenant, days=days)
    if json_output:
        print_json([jump_document(one) for one in found])
        return
    if not found:
        say("nothing unusual" + (" yesterday" if days == 1 else f" in the last {days} whole days"))
    for jump in found:
        say(jump_said(jump))
        rows = [
            (
                part.key_id,
                part.model,
                part.cause,
                amount_said(part.nano, jump.priced),
                f"{part.was:.4g}",
                f"{part.is_:.4g}",
            )
            for part in jump.parts
        ]
        print_table(("KEY", "MODEL", "CAUSE", "MORE", "WAS", "IS"), rows, empty="no part of it is larger than usual")
