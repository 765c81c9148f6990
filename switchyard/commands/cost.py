"""`switchyard cost`: dated prices, and what usage cost against an API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from registry.days import day_ms, when
from registry.money import dollars_to_nano, nano_to_dollars
from switchyard.commands.cost_baselines import baselines
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

for _command in (scenario, forecast, anomalies):
    cost.command()(_command)
cost.add_typer(baselines, name="baselines")

FromOption = typer.Option(..., "--from", help="First day that the price holds, YYYY-MM-DD (UTC).")
SourceOption = typer.Option(..., "--source", help="Where the figure is from.")


@cost.command("add-host-price")
def add_host_price(
    name: str = typer.Argument(help="What the engine runs on, such as h100-80gb."),
    hourly_dollars: str = typer.Option(..., "--hourly", help="Dollars per hour and host."),
    effective_from: str = FromOption,
    source: str = SourceOption,
    json_output: bool = JsonFlag,
) -> None:
    """Add a dated hourly price of an engine host."""
    from registry.ledger.store import HostPriceInfo

    price = HostPriceInfo(name, day_ms(effective_from, "from"), dollars_to_nano(hourly_dollars, "hourly"), source)
    with open_registry() as registry:
        registry.ledger.add_host_price(price)
    print_done(price, f"{name}: ${hourly_dollars} an hour from {effective_from}", json_output)


@cost.command()
def report(
    against: str = typer.Option("ft:gpt-4o-mini", "--against", help="The API model to compare with."),
    since: str | None = typer.Option(None, "--since", help="YYYY-MM-DD (UTC); default: the first usage."),
    until: str | None = typer.Option(None, "--until", help="YYYY-MM-DD (UTC), exclusive; default: now."),
    hosts: str = typer.Option(
        "1", "--hosts", help="Engine hosts that were paid for in the window: 2, or of each kind, such as h100=2,a10=1."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Usage per tenant and version, its price at the API, and its share of the hosts' hours."""
    from gateway.cost.hosts import hosts_of
    from gateway.cost.report import build_report
    from registry.db import now_ms

    with open_registry() as registry:
        host_prices = registry.ledger.host_prices()
        paid_for = hosts_of(hosts, sorted({price.name for price in host_prices}))
        span = registry.ledger.span_ms()
        if span is None:
            print_done(None, "no usage yet", json_output)
            return
        built = build_report(
            registry.ledger.sums,
            against,
            registry.baselines.prices(against),
            host_prices,
            since_ms=day_ms(since, "since") if since else span[0],
            until_ms=day_ms(until, "until") if until else max(now_ms(), span[1] + 1),
            hosts=paid_for,
            first_boot_ms=registry.readings.first_boot_ms(),
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
            "HOST SHARE",
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
                _dollars(line.host_nano),
                line.unpriced_attempts,
            )
            for line in report.lines
        ),
        empty="no usage in this window",
    )
    known = [line.known_api_nano for line in report.lines if line.known_api_nano is not None]
    api = sum(known) if known else None
    say("", f"API cost   {_dollars(api)}")
    say(f"host cost  {_dollars(report.host_nano)} {_hosts_said(report)}")
    for price in report.api_prices:
        if not price.complete:
            continue
        input_, cached, output = map(
            _dollars, (price.input_nano_per_mtok, price.cached_input_nano_per_mtok, price.output_nano_per_mtok)
        )
        rates = f"{input_} in, {cached} cached, {output} out per million tokens"
        say(f"price      {price.name}: {rates} from {when(price.from_ms)} ({price.components['input'].source})")
    for host in report.host_prices:
        hourly = f"{_dollars(host.nano_per_hour)} an hour from {when(host.effective_from_ms)}"
        say(f"price      {host.name}: {hourly} ({host.source})")
    if not report.host_prices:
        say("price      no host price is known; add one with `switchyard cost add-host-price`")
    say("The API's tokenizer may count differently; our token counts are assumed.")


def _hosts_said(report: Report) -> str:
    if not report.hosts:
        return ""
    counts = ", ".join(f"{count} × {name}" for name, count in report.hosts.items())
    return f"for {counts} from {when(report.hosts_since_ms)} on, idle time and our own probes included"


def _dollars(nano: int | None) -> str:
    return "–" if nano is None else f"${nano_to_dollars(nano)}"
