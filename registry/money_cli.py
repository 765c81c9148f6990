"""`switchyard limits` and `switchyard tariff`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from registry.console import JsonFlag, print_done, print_json, print_table, say, when
from registry.days import day_ms
from registry.money import nano_to_dollars

if TYPE_CHECKING:
    from registry.prices.tariffs import TariffInfo
    from registry.service import Registry

limits = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Set and list what tenants, keys and adapters may use."
)
tariff = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Add and list dated token prices of bases, tenants and adapters."
)

LimitScope = typer.Argument(help="tenant:NAME, key:ID or adapter:tenant/adapter.")


@contextmanager
def _open_registry() -> Iterator[Registry]:
    """The registry of the settings in force; its SQL library is imported only now, so that `--help` is quick."""
    from registry.service import Registry

    with Registry.open() as registry:
        yield registry


@limits.command("set")
def set_limits(
    scope: str = LimitScope,
    requests_per_minute: int | None = typer.Option(None, "--requests-per-minute"),
    tokens_per_minute: int | None = typer.Option(None, "--tokens-per-minute", help="Prompt and answers together."),
    concurrency: int | None = typer.Option(None, "--concurrency", help="Requests at once."),
    daily_dollars: str | None = typer.Option(None, "--daily-dollars", help="At the tariff, per UTC day."),
    monthly_dollars: str | None = typer.Option(None, "--monthly-dollars", help="At the tariff, per UTC month."),
    daily_tokens: int | None = typer.Option(None, "--daily-tokens"),
    monthly_tokens: int | None = typer.Option(None, "--monthly-tokens"),
    warn_percent: int | None = typer.Option(
        None, "--warn-at", help="Warn when so many percent of a budget are spent: by header, and by webhook if set."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Set limits of a scope; those that are not named stay as they are. Gateways obey within a second."""
    from registry.money import dollars_to_nano
    from registry.prices.unpriced import unpriced_models

    named = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "concurrency": concurrency,
        "daily_nano": None if daily_dollars is None else dollars_to_nano(daily_dollars, "daily_dollars"),
        "monthly_nano": None if monthly_dollars is None else dollars_to_nano(monthly_dollars, "monthly_dollars"),
        "daily_tokens": daily_tokens,
        "monthly_tokens": monthly_tokens,
        "warn_percent": warn_percent,
    }
    with _open_registry() as registry:
        info = registry.limits.set(scope, {name: value for name, value in named.items() if value is not None})
        unpriced = unpriced_models(registry.catalog(), scope) if info.in_dollars else []
    print_done(info, f"limits of {scope}: {info.said()}", json_output)
    if unpriced:
        shown = ", ".join(unpriced[:5]) + (f" and {len(unpriced) - 5} more" if len(unpriced) > 5 else "")
        say(
            f"warning: no price is in force for {shown}: under a budget in dollars that is not served; add one with "
            "`switchyard tariff add`",
            err=True,
        )


@limits.command("list")
def list_limits(json_output: bool = JsonFlag) -> None:
    """List every limit."""
    with _open_registry() as registry:
        infos = registry.limits.all()
    if json_output:
        print_json(infos)
        return
    print_table(
        (
            "SCOPE",
            "REQ/MIN",
            "TOKENS/MIN",
            "AT ONCE",
            "DAILY $",
            "MONTHLY $",
            "DAILY TOKENS",
            "MONTHLY TOKENS",
            "WARN AT %",
        ),
        (
            (
                info.scope,
                info.requests_per_minute,
                info.tokens_per_minute,
                info.concurrency,
                _dollars(info.daily_nano),
                _dollars(info.monthly_nano),
                info.daily_tokens,
                info.monthly_tokens,
                info.warn_percent,
            )
            for info in infos
        ),
        empty="no limits; set one with `switchyard limits set tenant:NAME --requests-per-minute 60`",
    )


@limits.command("budgets")
def show_budgets(json_output: bool = JsonFlag) -> None:
    """Show what is spent of every budget, as the ledger says: a second or two behind."""
    from registry.limits.budget_report import report_budgets

    with _open_registry() as registry:
        lines = report_budgets(registry.limits, registry.spending, registry.refusals)
    if json_output:
        said = ({"budget": line.said(line.budget), "spent": line.said(line.spent)} for line in lines)
        print_json([{**asdict(line), **amounts} for line, amounts in zip(lines, said, strict=True)])
        return
    print_table(
        ("SCOPE", "WINDOW", "UNIT", "BUDGET", "SPENT", "LEFT", "SPENT %", "REFUSED", "BEGINS ANEW"),
        (
            (
                line.scope,
                line.window,
                line.unit,
                line.said(line.budget),
                line.said(line.spent),
                line.said(max(0, line.budget - line.spent)),
                line.percent,
                line.refused,
                when(line.ends_at_ms),
            )
            for line in lines
        ),
        empty="no budgets; set one with `switchyard limits set tenant:NAME --daily-dollars 5`",
    )


@limits.command("clear")
def clear_limits(
    scope: str = LimitScope,
    names: list[str] | None = typer.Argument(
        None, metavar="[LIMIT]…", help="Such as daily-dollars or concurrency; default: all of the scope."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Take limits of a scope away: those that are named, or all."""
    with _open_registry() as registry:
        warned = any(one.warn_percent is not None for one in registry.limits.all() if one.scope == scope)
        left = registry.limits.clear(scope, names or ())
    named = any(name.replace("-", "_") in ("warn_at", "warn_percent") for name in names or ())
    gone = warned and names and not named and (left is None or left.warn_percent is None)
    also = " (and no warn-at, because no budget is left to warn of)" if gone else ""
    if left is None:
        print_done({"scope": scope, "cleared": True}, f"{scope} has no limits any more{also}", json_output)
    else:
        sentence = f"{scope} has no {', '.join(names or ())} any more{also}; what stays: {left.said()}"
        print_done(left, sentence, json_output)


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
    with _open_registry() as registry:
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
        figures = f"${_dollars(one.input_nano_per_mtok)} in, ${_dollars(one.output_nano_per_mtok)} out"
        say(f"it replaces the price that was to begin {when(one.effective_from_ms)}: {figures} ({one.source})")


@tariff.command("list")
def list_tariffs(json_output: bool = JsonFlag) -> None:
    """List the price of every scope that is in force, or comes first."""
    with _open_registry() as registry:
        infos = registry.tariffs.all()
    in_force = {info.scope: info for info in infos if info.state == "in force"}
    first = {info.scope: info for info in reversed(infos) if info.state == "to come"}
    _show([info for _, info in sorted((first | in_force).items())], json_output)


@tariff.command("show")
def show_tariff(
    scope: str = typer.Argument(help="base:NAME, tenant:NAME or adapter:tenant/adapter."), json_output: bool = JsonFlag
) -> None:
    """Show every price that a scope ever had, those to come, and those that were replaced before they began."""
    with _open_registry() as registry:
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
                _dollars(info.input_nano_per_mtok),
                _dollars(info.cached_input_nano_per_mtok),
                _dollars(info.output_nano_per_mtok),
                info.state,
                info.source,
            )
            for info in infos
        ),
        empty="no prices; add one with `switchyard tariff add base:NAME --input … --output … --source …`",
    )


def _dollars(nano: int | None) -> str | None:
    return None if nano is None else nano_to_dollars(nano)
