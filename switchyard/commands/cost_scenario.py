"""`switchyard cost scenario`: what a month of supposed traffic costs at APIs and on engines of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from switchyard.baseline_lookup import look_up
from switchyard.console import print_json, print_table, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.scenario import Scenario

MOST = 10**15
"""Requests, tokens and engines that a scenario may have."""


def scenario(
    requests: int = typer.Option(1_000_000, "--requests", min=1, max=MOST, help="A month."),
    input_tokens: int = typer.Option(500, "--input-tokens", min=0, max=MOST, help="That a request reads."),
    output_tokens: int = typer.Option(500, "--output-tokens", min=0, max=MOST, help="That an answer has."),
    cached_share: str = typer.Option(
        "0", "--cached-share", help="Of input tokens that the API's prompt cache has, 0 to 1."
    ),
    batch_share: str = typer.Option("0", "--batch-share", help="Of requests that can wait for a batch, 0 to 1."),
    gpu_month: str | None = typer.Option(None, "--gpu-month", help="Dollars a month of one GPU; default: 2000."),
    gpu_hour: str | None = typer.Option(None, "--gpu-hour", help="Dollars an hour instead; a month has 730."),
    gpus: int = typer.Option(1, "--gpus", min=1, max=100_000, help="That are there, whether used or not."),
    requests_per_gpu: int | None = typer.Option(
        None, "--requests-per-gpu", min=1, max=MOST, help="That one GPU carries in a month; default: all."
    ),
    training_tokens: int = typer.Option(
        16_666_667, "--training-tokens", min=0, max=MOST, help="Trained once at an API that fine-tunes."
    ),
    own_training: str = typer.Option("100", "--own-training", help="Dollars of training once here."),
    baselines: list[str] = typer.Option([], "--baseline", help="Compare with this API; several times for several."),
    at: str | None = typer.Option(None, "--at", help="At the prices of this day, YYYY-MM-DD (UTC); default: now."),
    price_version: str | None = typer.Option(None, "--price-version", help="At prices as they were known then."),
    plot: Path | None = typer.Option(None, "--plot", help="Draw cost against requests, into a .png or .svg file."),
    json_output: bool = JsonFlag,
) -> None:
    """Say what a month costs at APIs and on GPUs of one's own, and from how many requests on these cost less.

    Without options it is the case of the fine-tuning guide: a million requests of 500 + 500 tokens, one GPU at $2,000.
    """
    from gateway.cost.cases import Terms, case_of
    from gateway.cost.list_prices import list_prices
    from gateway.cost.scenario import Case, compare
    from gateway.cost.scenario_words import document
    from registry.days import day_ms
    from registry.db import now_ms

    shape = Case(
        requests,
        input_tokens,
        output_tokens,
        engines=gpus,
        requests_an_engine=requests_per_gpu,
        training_tokens=training_tokens,
    )
    case = case_of(shape, Terms(cached_share, batch_share, gpu_month, gpu_hour, own_training))
    with open_registry() as registry:
        look_up(registry, baselines, price_version)
        at_ms = now_ms() if at is None else day_ms(at, "at")
        prices = list_prices(registry.baselines, baselines, at_ms, price_version)
    found = compare(case, prices.listed, unlisted=prices.unlisted, price_version=prices.version)
    if plot is not None:
        _draw(found, plot)
    print_json(document(found)) if json_output else _print(found)


def _draw(found: Scenario, file: Path) -> None:
    from switchyard.picture_files import form_of, write_picture
    from switchyard.scenario_picture import picture

    write_picture(file, picture(found, form_of(file)))


def _print(found: Scenario) -> None:
    from gateway.cost.scenario_words import SELF_HOSTED, dollars, notes, percents, retirement_said, verdict_said

    say(verdict_said(found), *filter(None, [retirement_said(found)]), "")
    less = {name: (listed, named) for name, listed, named in percents(found)}
    none = (None, None)
    rows = [
        (
            name,
            dollars(offer.monthly_nano),
            None if offer.training_nano is None else dollars(offer.training_nano),
            "never" if offer.break_even_requests is None else f"{offer.break_even_requests:,}",
            *less.get(name, none),
            offer.info.state,
        )
        for name, offer in sorted(found.offers.items(), key=lambda one: one[1].monthly_nano)
    ]
    case = found.case
    rows.append(
        (SELF_HOSTED, dollars(case.own_nano), dollars(case.own_training_nano), None, *less.get(SELF_HOSTED, none), None)
    )
    named = "LESS THAN THE GUIDE'S GPT-4"
    print_table(("WHERE", "A MONTH", "TRAINING, ONCE", "BREAK-EVEN", "LESS THAN GPT-4", named, "STATUS"), rows)
    say("", "BREAK-EVEN is requests a month, from which on self-hosting costs less.")
    say(*(f"note: {one}" for one in notes(found)))
    say(f"prices: {found.price_version}")
