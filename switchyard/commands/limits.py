"""`switchyard limits`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from registry.days import when
from registry.money import dollars_to_nano
from switchyard.commands.figures import dollars
from switchyard.console import print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

limits = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Set and list what tenants, keys and adapters may use."
)

LimitScope = typer.Argument(help="tenant:NAME, key:ID or adapter:tenant/adapter.")


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
    with open_registry() as registry:
        info = registry.limits.set(scope, {name: value for name, value in named.items() if value is not None})
        unpriced = unpriced_models(registry.catalog(), scope) if info.in_dollars else []
    print_done(info, f"limits of {scope}: {info.description()}", json_output)
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
    with open_registry() as registry:
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
                dollars(info.daily_nano),
                dollars(info.monthly_nano),
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

    with open_registry() as registry:
        lines = report_budgets(registry.limits, registry.spending, registry.refusals)
    if json_output:
        said = ({"budget": line.formatted(line.budget), "spent": line.formatted(line.spent)} for line in lines)
        print_json([{**asdict(line), **amounts} for line, amounts in zip(lines, said, strict=True)])
        return
    print_table(
        ("SCOPE", "WINDOW", "UNIT", "BUDGET", "SPENT", "LEFT", "SPENT %", "REFUSED", "BEGINS ANEW"),
        (
            (
                line.scope,
                line.window,
                line.unit,
                line.formatted(line.budget),
                line.formatted(line.spent),
                line.formatted(max(0, line.budget - line.spent)),
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
    with open_registry() as registry:
        warned = any(one.warn_percent is not None for one in registry.limits.all() if one.scope == scope)
        left = registry.limits.clear(scope, names or ())
    named = any(name.replace("-", "_") in ("warn_at", "warn_percent") for name in names or ())
    gone = warned and names and not named and (left is None or left.warn_percent is None)
    also = " (and no warn-at, because no budget is left to warn of)" if gone else ""
    if left is None:
        print_done({"scope": scope, "cleared": True}, f"{scope} has no limits any more{also}", json_output)
    else:
        sentence = f"{scope} has no {', '.join(names or ())} any more{also}; what stays: {left.description()}"
        print_done(left, sentence, json_output)
