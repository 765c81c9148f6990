"""`switchyard cost baselines`: what APIs charge, dated and sourced, and whether they can still be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from registry.days import day_ms
from switchyard.console import print_done, print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from registry.prices.taking import Taken
    from registry.service import Registry

baselines = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List and add what APIs charge, and how long they can be asked."
)

NameArgument = typer.Argument(help="Of a baseline, such as ft:gpt-4o-mini.")
SourceOption = typer.Option(..., "--source", help="Where the figure is from.")
RetrievedOption = typer.Option(
    None, "--retrieved", help="Day on which the source was read, YYYY-MM-DD (UTC); default: today."
)
NoteOption = typer.Option("", "--note", help="What is doubtful about it.")
VersionOption = typer.Option(None, "--price-version", help="As it was known then, such as p57-1f0c9a3e.")
INPUT = typer.Option(None, "--input", help="Dollars per million input tokens.")
CACHED = typer.Option(None, "--cached-input", help="Of those that the API's prompt cache has.")
OUTPUT = typer.Option(None, "--output", help="Dollars per million output tokens.")
BATCH_INPUT = typer.Option(None, "--batch-input", help="Dollars per million input tokens of batches.")
BATCH_OUTPUT = typer.Option(None, "--batch-output", help="Dollars per million output tokens of batches.")
TRAINING = typer.Option(None, "--training", help="Dollars per million tokens trained.")
NO_PRICE = "none"
"""What `correct` takes where there was no price."""


@baselines.command("list")
def list_baselines(price_version: str | None = VersionOption, json_output: bool = JsonFlag) -> None:
    """List every baseline with its prices of today, in dollars per million tokens."""
    with open_registry() as registry:
        version = price_version or registry.baselines.version()
        documents = [_document(registry, name, version) for name in registry.baselines.names(version)]
    if json_output:
        print_json({"price_version": version, "baselines": documents})
        return
    print_table(
        ("BASELINE", "STATUS", "ENDS", "SUBSTITUTE", "$/M IN", "CACHED", "OUT", "TRAINING", "CHECKED"),
        (
            (
                one["name"],
                one["status"] or "–",
                one["ends_on"] or "–",
                one["substitute"] or "–",
                *(one["today"].get(component, "–") for component in ("input", "cached_input", "output", "training")),
                _checked(one),
            )
            for one in documents
        ),
        empty="no baselines",
    )
    say(f"price version {version}")


@baselines.command("show")
def show_baseline(
    name: str = NameArgument, price_version: str | None = VersionOption, json_output: bool = JsonFlag
) -> None:
    """Show all that is known of a baseline: every price that held or is to come, and where it is from."""
    with open_registry() as registry:
        version = price_version or registry.baselines.version()
        found = _document(registry, name, version)
    if json_output:
        print_json({"price_version": version, **found})
        return
    ends = f", shut down on {found['ends_on']}" if found["ends_on"] else ""
    say(f"{name}: {found['status'] or 'status unknown'}{ends}")
    for field, fact in found["facts"].items():
        say(f"{field}: {fact['text'] or '–'} ({_said(fact)})")
    if (claim := found["claim"]) is not None:
        say(f"claimed, and no price: ${claim['dollars_a_month']} a month for {claim['workload']} ({_said(claim)})")
    print_table(
        ("COMPONENT", "FROM", "UNTIL", "$/M", "LINE", "SOURCE"),
        (
            (p["component"], p["effective_from"] or "ever", p["until"] or "–", p["dollars"], p["seq"], _price_said(p))
            for p in found["prices"]
        ),
        empty="no price of it is known",
    )
    say(f"checked {_checked(found)}; price version {version}")


@baselines.command("add-price")
def add_price(
    name: str = NameArgument,
    input_dollars: str | None = INPUT,
    cached_input: str | None = CACHED,
    output_dollars: str | None = OUTPUT,
    batch_input: str | None = BATCH_INPUT,
    batch_output: str | None = BATCH_OUTPUT,
    training: str | None = TRAINING,
    effective_from: str | None = typer.Option(
        None, "--from", help="First day that it holds, YYYY-MM-DD (UTC); default: today."
    ),
    source: str = SourceOption,
    retrieved: str | None = RetrievedOption,
    note: str = NoteOption,
    json_output: bool = JsonFlag,
) -> None:
    """Add prices from a day on. Prices are never edited: a change is a new price with its date.

    A day before today is taken where the component had no price by then.
    """
    dollars = _given(input_dollars, cached_input, output_dollars, batch_input, batch_output, training)
    with open_registry() as registry:
        version = registry.baselines.add_prices(
            name,
            dollars,
            source=source,
            effective_from_ms=None if effective_from is None else day_ms(effective_from, "from"),
            retrieved_at_ms=_retrieved(retrieved),
            note=note,
        )
        _tell(registry, name, version, f"{_prices(name, dollars)} from {effective_from or 'today'} on", json_output)


@baselines.command("correct")
def correct(
    name: str = NameArgument,
    input_dollars: str | None = INPUT,
    cached_input: str | None = CACHED,
    output_dollars: str | None = OUTPUT,
    batch_input: str | None = BATCH_INPUT,
    batch_output: str | None = BATCH_OUTPUT,
    training: str | None = TRAINING,
    effective_from: str = typer.Option(..., "--from", help="First day that it was so, YYYY-MM-DD (UTC)."),
    source: str = SourceOption,
    retrieved: str | None = RetrievedOption,
    note: str = NoteOption,
    json_output: bool = JsonFlag,
) -> None:
    """Say what prices were from a day on, up to the next one with a date; `none`: there was none.

    Reports that are asked for with an older --price-version go on saying what they said.
    """
    given = _given(input_dollars, cached_input, output_dollars, batch_input, batch_output, training)
    dollars = {component: None if price == NO_PRICE else price for component, price in given.items()}
    with open_registry() as registry:
        version = registry.baselines.correct(
            name,
            dollars,
            source=source,
            effective_from_ms=day_ms(effective_from, "from"),
            retrieved_at_ms=_retrieved(retrieved),
            note=note,
        )
        _tell(registry, name, version, f"{_prices(name, given)} from {effective_from} on, corrected", json_output)


@baselines.command("import")
def import_prices(
    names: list[str] | None = typer.Argument(
        None, help="MODEL or PROVIDER/MODEL of genai-prices; default: those that were imported before."
    ),
    provider: str | None = typer.Option(None, "--provider", help="Whose model it is, where several have it."),
    json_output: bool = JsonFlag,
) -> None:
    """Take prices out of the package genai-prices: what is new in it holds from today on, and nothing is edited."""
    from registry.db import now_ms
    from registry.prices.genai import GenaiPrices, take_listings

    prices = GenaiPrices(now_ms())
    with open_registry() as registry:
        wanted = names or registry.baselines.names_from("genai-prices")
        listings = {name: prices.find(name, provider) for name in wanted}
        taken = take_listings(registry.baselines, listings)
        version = registry.baselines.version()
    if json_output:
        print_json({"price_version": version, "snapshot": prices.snapshot, "baselines": _taken(taken)})
        return
    for name, one in taken.items():
        say(f"{name}: {len(one.added)} new lines in the log", *(f"  {sentence}" for sentence in one.left))
    say(f"from {prices.snapshot}; price version {version}" if taken else "nothing was imported before; name a model")


@baselines.command("status")
def set_status(
    name: str = NameArgument,
    state: str | None = typer.Option(None, "--state", help="live, retiring or retired."),
    ends_on: str | None = typer.Option(
        None, "--ends-on", help="Of retiring and retired: the day on which it is shut down, YYYY-MM-DD (UTC)."
    ),
    substitute: str | None = typer.Option(None, "--substitute", help="The baseline that takes its place; '' for none."),
    tokenizer: str | None = typer.Option(None, "--tokenizer", help="What counts its tokens, such as o200k_base."),
    provider: str | None = typer.Option(None, "--provider", help="Whose API it is."),
    claim: str | None = typer.Option(None, "--claim", help="Dollars a month that somebody names; never a price."),
    workload: str = typer.Option("", "--workload", help="What --claim is said of."),
    source: str = SourceOption,
    retrieved: str | None = RetrievedOption,
    note: str = NoteOption,
    json_output: bool = JsonFlag,
) -> None:
    """Say whether a baseline is live, retiring or retired, and what else is known of it; the last word counts."""
    from registry.prices.baseline_writing import Facts

    facts = Facts(
        state,
        None if ends_on is None else day_ms(ends_on, "ends_on"),
        substitute,
        tokenizer,
        provider,
        None if claim is None else (claim, workload),
    )
    with open_registry() as registry:
        version = registry.baselines.say(name, facts, source=source, retrieved_at_ms=_retrieved(retrieved), note=note)
        _tell(registry, name, version, f"{name}: noted", json_output)


def _document(registry: Registry, name: str, version: str) -> dict[str, Any]:
    """With what holds today by component, as `today`."""
    from gateway.cost.baseline_words import document, is_stale
    from gateway.cost.list_prices import in_force
    from registry.db import now_ms
    from registry.money import nano_to_dollars

    at_ms = now_ms()
    info, periods = registry.baselines.info(name, version), registry.baselines.prices(name, version)
    period = in_force(periods, at_ms)
    today = {} if period is None else period.components
    return {
        **document(info, periods, is_stale(info, at_ms, registry.settings.price_stale_days)),
        "today": {component: nano_to_dollars(price.nano_per_mtok) for component, price in today.items()},
    }


def _tell(registry: Registry, name: str, version: str, sentence: str, json_output: bool) -> None:
    found = {"price_version": version, **_document(registry, name, version)} if json_output else None
    print_done(found, f"{sentence}; price version {version}", json_output)


def _given(*dollars: str | None) -> dict[str, str]:
    from registry.prices.baseline_infos import COMPONENTS

    return {component: price for component, price in zip(COMPONENTS, dollars, strict=True) if price is not None}


def _prices(name: str, dollars: Mapping[str, str]) -> str:
    prices = (f"{component} {NO_PRICE if price == NO_PRICE else f'${price}'}" for component, price in dollars.items())
    return f"{name}: {', '.join(prices)} per million tokens"


def _retrieved(day: str | None) -> int | None:
    return None if day is None else day_ms(day, "retrieved")


def _taken(taken: Mapping[str, Taken]) -> dict[str, Any]:
    return {name: {"added": len(one.added), "left": list(one.left)} for name, one in taken.items()}


def _checked(found: Mapping[str, Any]) -> str:
    return f"{found['checked_on'] or 'never'}{', stale' if found['stale'] else ''}"


def _said(part: Mapping[str, Any]) -> str:
    return f"{part['source']}; {part['note']}" if part["note"] else str(part["source"])


def _price_said(price: Mapping[str, Any]) -> str:
    corrected = "corrected: " if price["correction"] else ""
    stated = f" (from {price['stated_from']} on by its source)" if price["stated_from"] else ""
    return f"{corrected}{_said(price)}{stated}"
