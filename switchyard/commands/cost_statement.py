"""`switchyard cost statement`: what a tenant used in a month, and what it is charged for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from switchyard.commands.cost_report import (
    BaselineOption,
    BatchShareOption,
    CachedShareOption,
    CostVersionOption,
    IdleOption,
    PriceVersionOption,
)
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.statement import Statement


def statement(
    tenant: str = typer.Argument(help="Whose."),
    month: str = typer.Option(..., "--month", help="YYYY-MM (UTC)."),
    html: Path | None = typer.Option(None, "--html", help="Write a page that prints well into this file."),
    with_engine_costs: bool = typer.Option(
        False, "--with-engine-costs", help="Put in what engines cost and the margin, which is not for the tenant."
    ),
    baseline: list[str] | None = BaselineOption,
    idle: str | None = IdleOption,
    price_version: str | None = PriceVersionOption,
    cost_version: str | None = CostVersionOption,
    cached_share: str | None = CachedShareOption,
    batch_share: str = BatchShareOption,
    json_output: bool = JsonFlag,
) -> None:
    """A tenant's statement of a month: models, days, prices, what is charged, and what APIs would have cost.

    A PDF is what a browser prints the page into: chromium --headless --print-to-pdf=FILE PAGE.
    """
    from gateway.cost.assumptions import assumptions_of
    from gateway.cost.costing import named_idle
    from gateway.cost.reporting import Asked
    from gateway.cost.statement import statement_document, statement_of
    from gateway.cost.statement_page import page_of

    with open_registry() as registry:
        asked = Asked(
            baselines=tuple(baseline or ()),
            price_version=price_version,
            cost_version=cost_version,
            idle=named_idle(registry, idle, cost_version),
            assumed=assumptions_of(cached_share, batch_share),
        )
        made = statement_of(registry, tenant, month, asked, with_engine_costs=with_engine_costs)
    if html is not None:
        html.write_text(page_of(made), encoding="utf-8")
    if json_output:
        print_json(statement_document(made))
    else:
        _print(made)
    if html is not None:
        say(f"the page is in {html}", err=json_output)


def _print(made: Statement) -> None:
    from gateway.cost.statement import statement_sentences
    from switchyard.cost_tables import money

    so_far = "" if made.complete else ", so far"
    say(f"statement for {made.tenant}, {made.month}{so_far}", "")
    engines = ("ENGINES", "MARGIN") if made.with_engine_costs else ()
    print_table(
        ("MODEL", "REQUESTS", "PROMPT", "CACHED", "COMPLETION", *engines, "CHARGED"),
        (
            (
                line.name,
                f"{line.requests:,}",
                f"{line.tokens.prompt:,}",
                f"{line.tokens.cached:,}",
                f"{line.tokens.completion:,}",
                *((money(line.engine.loaded_nano), money(line.margin_nano)) if engines else ()),
                money(line.tariff_nano),
            )
            for line in (*made.versions.lines, made.versions.total)
        ),
    )
    say("", *statement_sentences(made))
