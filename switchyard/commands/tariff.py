"""`switchyard tariff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import day_ms, when
from switchyard.commands.figures import dollars
from switchyard.console import print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.prices.tariffs import TariffInfo

tariff = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Add and list dated token prices of bases, tenants and adapters."
)


@tariff.command("add")
def add_tariff(
    scope: str = typer.Argument(help="base:NAME, or tenant:NAME or adapter:tenant/adapter for a price of their own."),
    input_dollars: str = typer.Option(..., "--input", help="Dollars per million input tokens."),
    output_dollars: str = typer.Option(..., "--output", help="Dollars per million output tokens."),
    cached_dollars: str | None = typer.Option(
        None, "--cached-input", help="Per million cached ones; default: --input."
    ),
    effective_from: str | None = typer.Option(
        None, "--from", help="First day that it holds, YYYY-MM-DD (UTC); default: from now on."
    ),
    source: str = typer.Option(..., "--source", help="Where the figure is from."),
    json_output: bool = JsonFlag,
) -> None:
    """Add a price. Prices are never edited: a change is a new price with its date. It takes the place of those of its
    scope that would begin no earlier, so a price that has not begun can still be put right.
    """
    with open_registry() as registry:
        info = registry.tariffs.add(
            scope,
            input_dollars=input_dollars,
            output_dollars=output_dollars,
            cached_dollars=cached_dollars,
            effective_from_ms=None if effective_from is None else day_ms(effective_from, "from"),
            source=source,
        )
    begins = when(info.effective_from_ms)
    sentence = f"{scope}: ${input_dollars} in, ${output_dollars} out per million tokens from {begins}"
    print_done(info, sentence, json_output)
    for one in () if json_output else info.replaces:
        figures = f"${dollars(one.input_nano_per_mtok)} in, ${dollars(one.output_nano_per_mtok)} out"
        say(f"it replaces the price that was to begin {when(one.effective_from_ms)}: {figures} ({one.source})")


@tariff.command("list")
def list_tariffs(json_output: bool = JsonFlag) -> None:
    """List the price of every scope that is in force, or comes first."""
    with open_registry() as registry:
        infos = registry.tariffs.all()
    in_force = {info.scope: info for info in infos if info.state == "in force"}
    first = {info.scope: info for info in reversed(infos) if info.state == "to come"}
    _show([info for _, info in sorted((first | in_force).items())], json_output)


@tariff.command("show")
def show_tariff(
    scope: str = typer.Argument(help="base:NAME, tenant:NAME or adapter:tenant/adapter."), json_output: bool = JsonFlag
) -> None:
    """Show every price that a scope ever had, those to come, and those that were replaced before they began."""
    with open_registry() as registry:
        infos = registry.tariffs.all(scope)
    _show(infos, json_output)


def _show(infos: list[TariffInfo], json_output: bool) -> None:
    if json_output:
        print_json(infos)
        return
    print_table(
        ("SCOPE", "FROM", "$/M IN", "$/M CACHED", "$/M OUT", "STATE", "SOURCE"),
        (
            (
                info.scope,
                when(info.effective_from_ms),
                dollars(info.input_nano_per_mtok),
                dollars(info.cached_input_nano_per_mtok),
                dollars(info.output_nano_per_mtok),
                info.state,
                info.source,
            )
            for info in infos
        ),
        empty="no prices; add one with `switchyard tariff add base:NAME --input … --output … --source …`",
    )
