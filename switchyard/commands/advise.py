"""`switchyard advise`: prompting, retrieval or fine-tuning, and where to begin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from switchyard.console import print_json, print_table, prompt, say
from switchyard.options import JsonFlag
from switchyard.progress import reporting

if TYPE_CHECKING:
    from trainer.quote.approach import Decision, Needs
    from trainer.quote.starting_point import Answers, Choice

YesNo = Literal["yes", "no"]


def advise(
    fresh_information: YesNo | None = typer.Option(
        None, "--fresh-information", help="Must answers hold facts that change, or are newer than the base?"
    ),
    behaviour: YesNo | None = typer.Option(
        None, "--behaviour", help="Must the way of answering change: format, tone, terms, labels?"
    ),
    prompting_enough: YesNo | None = typer.Option(
        None, "--prompting-enough", help="Does a good prompt already answer well enough?"
    ),
    rows: int | None = typer.Option(None, "--rows", min=0, help="How many good rows there are to train on."),
    data: Path | None = typer.Option(None, "--data", help="A file of rows, which are counted and looked at."),
    goal: Literal["style", "general", "domain", "most"] = typer.Option(
        "general", "--goal", help="What is to be learnt: it decides the rank."
    ),
    model: str = typer.Option("8b", "--model", help="For the GPUs: a known model such as 8b, or a folder."),
    name: str = typer.Option("tenant/adapter", "--to", help="tenant/adapter, for the recipe."),
    json_output: bool = JsonFlag,
) -> None:
    """Say whether to prompt, retrieve or fine-tune, with reasons, and print a recipe to start from.

    What is not given is asked, on a terminal.
    """
    from trainer.quote.approach import Needs, decide
    from trainer.quote.known import find_shape
    from trainer.quote.starting_point import Answers, choices, gpu_lines, look_at, starting_recipe

    with reporting():
        tenant, adapter = _named(name)
        answers = Answers()
        if data is not None:
            rows, answers = _looked_at(data, look_at)
        needs = _answered(
            Needs(_yes(fresh_information), _yes(behaviour), _yes(prompting_enough), rows), ask=not json_output
        )
        decision = decide(needs)
        count = needs.rows or 0
        found = choices(count, goal, answers)
        gpus = gpu_lines(find_shape(model), answers, found)
        recipe = starting_recipe((tenant, adapter), data or Path("train.jsonl"), answers, found)
    if json_output:
        print_json(_document(needs, decision, found, gpus, recipe))
        return
    _print_decision(decision)
    if decision.trains:
        _print_start(count, found, gpus, model)
        say("", "A recipe to start from:", "", *recipe.rstrip("\n").split("\n"))


def _yes(given: YesNo | None) -> bool | None:
    return None if given is None else given == "yes"


def _named(name: str) -> tuple[str, str]:
    from registry.names import parse_whole_adapter

    ref = parse_whole_adapter(name)
    return ref.tenant, ref.adapter


def _looked_at(data: Path, look_at: Any) -> tuple[int, Answers]:
    from trainer.data.read import read_data

    read = read_data(data, "auto")
    return read.rows, look_at(read)


def _answered(needs: Needs, *, ask: bool) -> Needs:
    """With the answers of whoever sits at the terminal; without one, what is missing is a mistake of the command."""
    from trainer.quote.approach import QUESTIONS, next_question

    while (field := next_question(needs)) is not None:
        if not (ask and sys.stdin.isatty()):
            option = f"--{field.replace('_', '-')}"
            raise typer.BadParameter("it is needed for a decision; give it", param_hint=option)
        if field == "rows":
            needs = replace(needs, rows=_number(prompt("How many good rows are there to train on?")))
        else:
            answer = prompt(f"{QUESTIONS[field]} [yes/no]").strip().lower()
            if answer in ("y", "yes", "n", "no"):
                needs = replace(needs, **{field: answer.startswith("y")})
    return needs


def _number(text: str) -> int | None:
    digits = text.strip().replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) < 12 else None


def _document(
    needs: Needs, decision: Decision, found: list[Choice], gpus: list[tuple[str, str, str]], recipe: str
) -> Mapping[str, Any]:
    from trainer.quote.starting_point import volume_of

    return {
        "needs": asdict(needs),
        **asdict(decision),
        "volume": asdict(volume_of(needs.rows or 0)) if decision.trains else None,
        "hyperparameters": [asdict(one) for one in found] if decision.trains else [],
        "gpus": [
            {"tuning": tuning, "minimum": least, "recommended": good}
            for tuning, least, good in (gpus if decision.trains else ())
        ],
        "recipe": recipe if decision.trains else None,
    }


def _print_decision(decision: Decision) -> None:
    say(f"Do: {decision.approach}", "", "because")
    say(*(f"  {reason}" for reason in decision.reasons))
    if decision.cautions:
        say("mind")
        say(*(f"  {caution}" for caution in decision.cautions))


def _print_start(rows: int, found: list[Choice], gpus: list[tuple[str, str, str]], model: str) -> None:
    from trainer.quote.starting_point import VOLUMES, volume_of

    mine = volume_of(rows)
    say("")
    print_table(
        ("ROWS", "GOOD FOR", "MIND", "YOURS"),
        [(one.rows, one.good_for, one.mind, f"{rows:,}" if one is mine else None) for one in VOLUMES],
    )
    say("")
    print_table(
        ("SECTION", "KEY", "VALUE", "WHY"), [(one.section, one.key, _shown(one.value), one.why) for one in found]
    )
    say("")
    chosen = {one.key: one.value for one in found}
    at_once = f"{chosen['batch_size']} × {chosen['max_length_tokens']:,} TOKENS"
    print_table((f"{model}, {at_once}", "MINIMUM", "RECOMMENDED"), gpus)


def _shown(value: float | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:g}"
