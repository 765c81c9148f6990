"""`switchyard cost report`: what was used, what it was charged, what engines cost, and what APIs would have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.days import day_ms
from registry.errors import InvalidInput
from switchyard.baseline_lookup import look_up
from switchyard.console import print_csv, print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.report import CostReport
    from gateway.cost.reporting import Asked
    from registry.service import Registry

ByOption = typer.Option("tenant", "--by", help="tenant, adapter, version, key, day, engine or arm.")
BaselineOption = typer.Option(
    None, "--baseline", help="An API to compare with; several times for several. Default: ft:gpt-4o-mini, gpt-5.4-mini."
)
SinceOption = typer.Option(None, "--from", help="First day, YYYY-MM-DD (UTC); default: that of the first usage.")
UntilOption = typer.Option(None, "--until", help="YYYY-MM-DD (UTC), exclusive; default: now.")
TenantOption = typer.Option(None, "--tenant", help="Only this tenant's.")
IdleOption = typer.Option(
    None, "--idle", help="Who idle time falls to: unallocated, by_share, equal or reserved; default: as was put."
)
PriceVersionOption = typer.Option(
    None, "--price-version", help="Of the log of list prices, as an earlier report named it."
)
CostVersionOption = typer.Option(
    None, "--cost-version", help="What engines cost as it was known when an earlier report named it."
)
CachedShareOption = typer.Option(
    None, "--cached-share", help="Part of prompts that an API's cache has, 0 to 1; default: as much as our own had."
)
BatchShareOption = typer.Option(
    "0", "--batch-share", help="Part of requests that could go by an API's batch queue, 0 to 1."
)
OrderOption = typer.Option(
    "name", "--order", help="Of lines: name, or cost, those first for which engines cost most or that pay most."
)
PlotOption = typer.Option(None, "--plot", help="Draw the costs into this file: .png or .svg.")
FocusOption = typer.Option(
    None, "--focus", help="Write FOCUS 1.3 rows, a day, engine, tenant and version each, to this CSV."
)
SampleOption = typer.Option(
    None,
    "--sample",
    help="Texts, as rows of training data or one a line: tokens are counted again by APIs' tokenizers.",
)
SampleBaseOption = typer.Option(None, "--sample-base", help="The base by which our tokens of the sample count.")


def report(
    by: str = ByOption,
    baseline: list[str] | None = BaselineOption,
    tenant: str | None = TenantOption,
    since: str | None = SinceOption,
    until: str | None = UntilOption,
    idle: str | None = IdleOption,
    price_version: str | None = PriceVersionOption,
    cost_version: str | None = CostVersionOption,
    cached_share: str | None = CachedShareOption,
    batch_share: str = BatchShareOption,
    order: str = OrderOption,
    explain: bool = typer.Option(False, "--explain", help="Open every number: formula, figures, prices, query."),
    plot: Path | None = PlotOption,
    focus: Path | None = FocusOption,
    sample: Path | None = SampleOption,
    sample_base: str | None = SampleBaseOption,
    json_output: bool = JsonFlag,
    csv_output: bool = typer.Option(False, "--csv", help="Print CSV with a heading."),
) -> None:
    """What was used, what tenants are charged for it (tariff), what the engines cost for it, and what APIs would have.

    ENGINES is fully loaded: busy time, and idle time by the idle policy. SAVED is what an API would have cost less
    that: negative where the API is cheaper. – is what is not known; it is counted, and never 0.
    """
    from gateway.cost.assumptions import assumptions_of
    from gateway.cost.costing import named_idle
    from gateway.cost.reporting import Asked, baselines_of, focus_of, in_order, report_of
    from registry.db import now_ms

    if json_output and csv_output:
        raise InvalidInput("--json and --csv are both given; choose one", param="csv")
    if plot is not None:
        from switchyard.picture_files import form_of

        form_of(plot)
    asked = Asked(
        by=by,
        since_ms=day_ms(since, "from") if since else None,
        until_ms=day_ms(until, "until") if until else now_ms(),
        tenant=tenant,
        baselines=tuple(baseline or ()),
        price_version=price_version,
        cost_version=cost_version,
        assumed=assumptions_of(cached_share, batch_share),
    )
    with open_registry() as registry:
        look_up(registry, baselines_of(registry, asked), price_version)
        asked = replace(asked, idle=named_idle(registry, idle, cost_version))
        if sample is not None:
            asked = _counted_again(registry, asked, sample, sample_base)
        built = in_order(report_of(registry, asked), order)
        if focus is not None:
            focus.write_text(focus_of(registry, asked), encoding="utf-8")
            say(f"FOCUS rows are in {focus}", err=True)
    _show(built, explain=explain, json_output=json_output, csv_output=csv_output)
    if plot is not None:
        _draw(built, plot)


def _counted_again(registry: Registry, asked: Asked, sample: Path, sample_base: str | None) -> Asked:
    from gateway.cost.reporting import baselines_of
    from switchyard.cost_sample import ratios_of

    names = baselines_of(registry, asked)
    return replace(asked, ratios=ratios_of(registry, sample, sample_base, names, asked.price_version))


def _show(built: CostReport, *, explain: bool, json_output: bool, csv_output: bool) -> None:
    if json_output:
        from gateway.cost.report_document import document_of

        print_json(document_of(built, built.lines, explained=explain))
    elif csv_output:
        from gateway.cost.report_csv import csv_of

        print_csv(csv_of(built, built.lines))
    else:
        from switchyard.cost_tables import print_explained, print_report

        print_report(built)
        if explain:
            print_explained(built)


def _draw(built: CostReport, plot: Path) -> None:
    from switchyard.cost_picture import picture
    from switchyard.picture_files import form_of, write_picture

    write_picture(plot, picture(built, form_of(plot)))
