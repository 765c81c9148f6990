"""`switchyard quote`: what a recipe will take, before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from switchyard.console import print_json_line, print_table, say
from switchyard.options import LastLineJsonFlag as JsonFlag
from switchyard.progress import reporting

if TYPE_CHECKING:
    from trainer.quote.facts import TokenDollars
    from trainer.quote.quote import Quote


def quote(
    recipe: Path = typer.Argument(help="RECIPE.toml."),
    base_model: str | None = typer.Option(
        None, "--base", help="Base model: a folder or a hub id org/name. Default: the packaged SmolLM2-135M-Instruct."
    ),
    untimed: bool = typer.Option(False, "--untimed", help="Time no steps: no weights are loaded, and no time is told."),
    hour: str | None = typer.Option(None, "--hour-dollars", help="What an hour of this machine costs."),
    api_input: str | None = typer.Option(None, "--api-input", help="An API's dollars per million input tokens."),
    api_output: str | None = typer.Option(None, "--api-output", help="Its dollars per million output tokens."),
    own_input: str | None = typer.Option(None, "--own-input", help="The same, served here."),
    own_output: str | None = typer.Option(None, "--own-output", help="The same, served here."),
    prompt_only_tokens: int = typer.Option(
        0, "--prompt-only-tokens", min=0, help="Instructions and examples that the API would read with every request."
    ),
    json_output: bool = JsonFlag,
) -> None:
    """Say what a recipe will take: tokens, memory, time by three steps that are timed here, cost, and break-even.

    Nothing is trained for keeps, and nothing is published.
    """
    from trainer.quote.facts import Prices, TokenDollars
    from trainer.quote.of_recipe import quote_recipe

    prices = Prices(
        None if hour is None else _nano(hour, "hour_dollars"),
        _token_dollars(TokenDollars, api_input, api_output, "api"),
        _token_dollars(TokenDollars, own_input, own_output, "own"),
        prompt_only_tokens,
    )
    with reporting() as reporter:
        found = quote_recipe(recipe, base_model, prices, reporter, timed=not untimed)
    if json_output:
        print_json_line(found.document())
    else:
        _print(found)


def _nano(dollars: str, name: str) -> int:
    from registry.money import dollars_to_nano

    return dollars_to_nano(dollars, name)


def _token_dollars(kind: type[TokenDollars], read: str | None, written: str | None, whose: str) -> TokenDollars | None:
    if read is None and written is None:
        return None
    if read is None or written is None:
        raise typer.BadParameter("give both prices, of input and of output", param_hint=f"--{whose}-input")
    return kind(_nano(read, f"{whose}_input"), _nano(written, f"{whose}_output"))


def _print(found: Quote) -> None:
    from trainer.quote.words import money_lines, row_lines, time_lines

    print_table(("OF", "QUOTED"), [*row_lines(found), *time_lines(found), *money_lines(found)])
    say("", "taken for granted")
    say(*(f"  {one}" for one in found.assumptions))
