"""`switchyard cost engines`: what engines, hosts, pools and the trainer cost."""

from __future__ import annotations

import typer

from registry.days import date_of, day_ms, day_number, when
from switchyard.commands.figures import dollars
from switchyard.console import actor, print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

engines = typer.Typer(add_completion=False, no_args_is_help=True, help="Say what engines cost, and see it.")

ScopeArgument = typer.Argument(help="engine:ID, host:NAME, pool:NAME, trainer, or * for each engine without another.")
KindArgument = typer.Argument(help="on_demand, spot (while it is there), reserved, owned (at all hours).")
FromOption = typer.Option(None, "--from", help="First day that it holds, YYYY-MM-DD (UTC); default: from now on.")
SourceOption = typer.Option(..., "--source", help="Where the figure is from.")


@engines.command("add")
def add_cost(
    scope: str = ScopeArgument,
    kind: str = KindArgument,
    hourly: str | None = typer.Option(None, "--hourly", help="Dollars an hour, of each GPU."),
    monthly: str | None = typer.Option(None, "--monthly", help="reserved: dollars a month (730 hours), of each GPU."),
    gpus: str | None = typer.Option(None, "--gpus", help="GPUs that the figure is for each of; default: 1."),
    upfront: str | None = typer.Option(None, "--upfront", help="reserved: dollars paid in advance for the term."),
    term_months: str | None = typer.Option(None, "--term-months", help="reserved: months that --upfront is for."),
    purchase: str | None = typer.Option(None, "--purchase", help="owned: dollars that it was bought for."),
    resale: str | None = typer.Option(None, "--resale", help="owned: dollars that it will be sold for; default: 0."),
    years: str | None = typer.Option(None, "--years", help="owned: years in which it is written off."),
    watts: str | None = typer.Option(None, "--watts", help="owned: power that it takes; default: 0."),
    pue: str | None = typer.Option(None, "--pue", help="owned: power of the site per power of machines; default: 1."),
    kwh: str | None = typer.Option(None, "--kwh", help="owned: dollars for a kilowatt-hour; default: 0."),
    hosting: str | None = typer.Option(None, "--hosting", help="owned: dollars a month for its place; default: 0."),
    correct: bool = typer.Option(False, "--correct", help="It corrects bills of days that are over."),
    effective_from: str | None = FromOption,
    source: str = SourceOption,
    json_output: bool = JsonFlag,
) -> None:
    """Add what something costs from a day on. Costs are never edited: a change is a new one with its date, and what is
    added today changes nothing before today, but where nothing had a cost. With --correct it may: the old line stays,
    and bills that name an older version of the costs stay as they were.
    """
    given = {
        "hourly": hourly,
        "monthly": monthly,
        "gpus": gpus,
        "upfront": upfront,
        "term_months": term_months,
        "purchase": purchase,
        "resale": resale,
        "years": years,
        "watts": watts,
        "pue": pue,
        "kwh": kwh,
        "hosting": hosting,
    }
    terms = {name: text for name, text in given.items() if text is not None}
    _add(scope, kind, terms, effective_from, source, correct, json_output)


@engines.command("end")
def end_cost(
    scope: str = ScopeArgument,
    effective_from: str | None = typer.Option(
        None, "--from", help="First day that it costs nothing more, YYYY-MM-DD (UTC); default: from now on."
    ),
    source: str = SourceOption,
    correct: bool = typer.Option(False, "--correct", help="It corrects bills of days that are over."),
    json_output: bool = JsonFlag,
) -> None:
    """Say that something costs nothing more: it was given back, sold, or is paid for by a wider scope."""
    _add(scope, "ended", {}, effective_from, source, correct, json_output)


def _add(
    scope: str,
    kind: str,
    terms: dict[str, str],
    effective_from: str | None,
    source: str,
    correct: bool,
    json_output: bool,
) -> None:
    with open_registry() as registry:
        line = registry.engine_costs.add(
            scope,
            kind,
            terms,
            effective_from_ms=None if effective_from is None else day_ms(effective_from, "from"),
            source=source,
            actor=actor(),
            correct=correct,
        )
    begins = when(line.said.effective_from_ms)
    what = f"${dollars(line.said.nano_per_hour)} an hour ({kind})" if line.costs else "nothing more"
    print_done(line, f"{scope}: {what} from {begins}", json_output)
    if line.costs and effective_from is None and line.seq == 1 and not json_output:
        today = date_of(day_number(line.said.effective_from_ms))
        say(f"what ran today before then has no cost, and today's reports say so; for all of it: --from {today}")


@engines.command("list")
def list_costs(json_output: bool = JsonFlag) -> None:
    """List every line of the log, oldest first, and the version that reports name it by."""
    from registry.engine_costs.terms import FORMULAS

    with open_registry() as registry:
        log = registry.engine_costs.log()
    if json_output:
        print_json({"cost_version": log.version, "lines": log.lines})
        return
    say(f"version {log.version}")
    print_table(
        ("LINE", "SCOPE", "KIND", "DOLLARS AN HOUR", "FROM", "FORMULA", "TERMS", "SOURCE"),
        (
            (
                line.seq,
                line.said.scope,
                f"{line.said.kind} (correction)" if line.said.correction else line.said.kind,
                dollars(line.said.nano_per_hour),
                when(line.said.effective_from_ms),
                FORMULAS[line.said.kind],
                ", ".join(f"{name} {text}" for name, text in line.said.terms.items()),
                line.said.source,
            )
            for line in log.lines
        ),
        empty="no engine has a cost yet: `switchyard cost engines add '*' on_demand --hourly 2.74 --source …`",
    )
