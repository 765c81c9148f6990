"""`switchyard cost`: dated prices, and what usage cost against an API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import day_ms, when
from registry.money import nano_to_dollars
from switchyard.commands.cost_baselines import baselines
from switchyard.commands.cost_break_even import break_even
from switchyard.commands.cost_engines import engines
from switchyard.commands.cost_outlook import anomalies, forecast
from switchyard.commands.cost_scenario import scenario
from switchyard.console import print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.report import Report

cost = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Report what was used and what it cost against an API."
)

cost.command("scenario")(scenario)
cost.command("break-even")(break_even)
cost.command("forecast")(forecast)
cost.command("anomalies")(anomalies)
cost.add_typer(baselines, name="baselines")
cost.add_typer(engines, name="engines")


@cost.command()
def report(
    against: str = typer.Option("ft:gpt-4o-mini", "--against", help="The API model to compare with."),
    since: str | None = typer.Option(None, "--since", help="YYYY-MM-DD (UTC); default: the first usage."),
    until: str | None = typer.Option(None, "--until", help="YYYY-MM-DD (UTC), exclusive; default: now."),
    json_output: bool = JsonFlag,
) -> None:
    """Usage per tenant and version, and its price at the API."""
    from gateway.cost.report import build_report
    from registry.db import now_ms

    with open_registry() as registry:
        span = registry.ledger.span_ms()
        if span is None:
            print_done(None, "no usage yet", json_output)
            return
        built = build_report(
            registry.ledger.sums,
            against,
            registry.baselines.prices(against),
            since_ms=day_ms(since, "since") if since else span[0],
            until_ms=day_ms(until, "until") if until else max(now_ms(), span[1] + 1),
        )
    if json_output:
        print_json(built)
    else:
        _print_report(built)


def _print_report(report: Report) -> None:
    say(f"{when(report.since_ms)} to {when(report.until_ms)}, against {report.api_model}", "")
    print_table(
        (
            "TENANT",
            "MODEL",
            "REQUESTS",
            "FAILED",
            "PROMPT",
            "CACHED",
            "COMPLETION",
            "API COST",
            "UNPRICED",
        ),
        (
            (
                line.tenant,
                line.model,
                line.attempts,
                line.failed,
                line.prompt_tokens,
                line.cached_tokens,
                line.completion_tokens,
                _dollars(line.known_api_nano),
                line.unpriced_attempts,
            )
            for line in report.lines
        ),
        empty="no usage in this window",
    )
    known = [line.known_api_nano for line in report.lines if line.known_api_nano is not None]
    api = sum(known) if known else None
    say("", f"API cost   {_dollars(api)}")
    for price in report.api_prices:
        if not price.complete:
            continue
        input_, cached, output = map(
            _dollars, (price.input_nano_per_mtok, price.cached_input_nano_per_mtok, price.output_nano_per_mtok)
        )
        rates = f"{input_} in, {cached} cached, {output} out per million tokens"
        say(f"price      {price.name}: {rates} from {when(price.from_ms)} ({price.components['input'].source})")
    say("The API's tokenizer may count differently; our token counts are assumed.")


def _dollars(nano: int | None) -> str:
    return "–" if nano is None else f"${nano_to_dollars(nano)}"
