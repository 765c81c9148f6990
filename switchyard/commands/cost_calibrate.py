"""`switchyard cost calibrate`: how many tokens a baseline counts for each of ours, from prompts that both are asked."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from registry.errors import InvalidInput
from switchyard.commands.asked_api import (
    AskedApi,
    BaselineOption,
    BudgetOption,
    KeyEnvOption,
    KeyFileOption,
    ModelOption,
    ModelUrlOption,
    TightOption,
)
from switchyard.commands.asking import AtOnceOption, KeyOption, gateway_asked, step_bar
from switchyard.console import actor, print_json, print_table, say
from switchyard.options import JsonFlag, UrlOption
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.calibration import Calibrating, Stopped
    from registry.calibrations.store import CalibrationInfo
    from registry.prices.baseline_infos import PricePeriod
    from registry.service import Registry
    from trainer.pairwise.pairs import Comparison
    from trainer.pairwise.run_file import RunFile

calibrate = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Ask an API the same prompts, and compare tokens."
)
MOST_PROMPTS = 10_000
FOLDER = "calibrations"
"""In the state folder: what was answered, so that one goes on where it was interrupted."""


@calibrate.command("run")
def run_one(
    own: str = typer.Argument(help="tenant/adapter[@version|@alias]: what answers here."),
    baseline: str = BaselineOption,
    prompts: Path = typer.Option(..., "--prompts", help="A file of prompts, as `switchyard evaluate` takes them."),
    model: str | None = ModelOption,
    model_url: str = ModelUrlOption,
    key_file: Path | None = KeyFileOption,
    key_env: str = KeyEnvOption,
    budget: str = BudgetOption,
    tight: float = TightOption,
    max_tokens: int = typer.Option(512, "--max-tokens", min=1, help="Of an answer, at both."),
    at_once: int = AtOnceOption,
    key: str | None = KeyOption,
    url: str | None = UrlOption,
    json_output: bool = JsonFlag,
) -> None:
    """Ask both the same prompts until the ratio of tokens is known well enough, or the budget is spent.

    The tenant must have consented to copies of its requests. What was answered is kept: a run that is begun again goes
    on. Reports take the newest one of a tenant and baseline.
    """
    api = AskedApi(baseline, model or baseline, model_url, key_file, key_env)
    order = Order(own, prompts, api, budget, tight, max_tokens, at_once)
    with open_registry() as registry:
        info = _carried_out(registry, order, key, url)
    print_json(info) if json_output else say(said_of(info))


@dataclass(frozen=True, slots=True)
class Order:
    """What a person has typed."""

    own: str
    prompts: Path
    api: AskedApi
    budget: str
    tight: float
    max_tokens: int
    at_once: int


def _carried_out(registry: Registry, order: Order, key: str | None, url: str | None) -> CalibrationInfo:
    """Ask, count, store: what may be refused is, before anything is asked."""
    from gateway.cost.calibration import Calibrating
    from registry.money import dollars_to_nano
    from registry.names import parse_ref
    from trainer.endpoints.client import Manner
    from trainer.evaluation.rows import read_rows
    from trainer.evaluation.sides import side_of
    from trainer.pairwise.pairs import Comparison, Contestant
    from trainer.pairwise.run_file import open_run

    began = Calibrating(order.tight, dollars_to_nano(order.budget, "budget"))
    version = registry.adapters.get(parse_ref(order.own))
    registry.calibrations.require_consent(version.tenant)
    price = order.api.price(registry)
    data = read_rows(order.prompts, MOST_PROMPTS)
    here = side_of(version)
    with gateway_asked(registry, version.tenant, key, url) as ours, order.api.client() as there:
        comparison = Comparison(
            Contestant(here.model, ours.client, here.digest),
            Contestant(order.api.model, there),
            data,
            Manner(order.max_tokens),
        )
        file = registry.settings.state_dir / FOLDER / f"{comparison.id}.jsonl"
        with open_run(file, comparison.about) as run_file:
            found, stopped = _asked(comparison, run_file, began, price, order.at_once)
    named = f"{data.name} {data.digest}"[:500]
    return registry.calibrations.add(_info(order, version.tenant, here.model, named, found, stopped))


def _info(
    order: Order, tenant: str, own_model: str, prompts: str, found: Calibrating, stopped: Stopped
) -> CalibrationInfo:
    """What is stored. Raises `InvalidInput` where too few were answered."""
    from registry.calibrations.store import CalibrationInfo

    prompt, completion = found.prompt.told(), found.completion.told()
    if prompt is None or completion is None:
        raise InvalidInput(
            f"prompts has {found.prompt.number} conversations that were answered; 30 are needed (stopped by: "
            f"{stopped}), and what was answered is kept",
            param="prompts",
        )
    return CalibrationInfo(
        tenant,
        order.api.baseline,
        own_model,
        order.api.model,
        order.api.url,
        prompts,
        found.prompt.number,
        prompt,
        completion,
        found.spent_nano,
        stopped,
        actor(),
    )


def _asked(
    comparison: Comparison, file: RunFile, state: Calibrating, price: PricePeriod, at_once: int
) -> tuple[Calibrating, Stopped]:
    """Conversation by conversation, until it is known well enough, the budget is spent, or there are no more."""
    from registry.money import cost_nano
    from trainer.pairwise.run import run

    with closing(run(comparison, file, None, at_once)) as outcomes, step_bar("prompts answered") as told:
        for _, unit in groupby(outcomes, key=lambda one: one.pair.row.unit):
            pairs = [one.pair for one in unit]
            ours = sum(pair.a.prompt_tokens for pair in pairs), sum(pair.a.answer_tokens for pair in pairs)
            theirs = sum(pair.b.prompt_tokens for pair in pairs), sum(pair.b.answer_tokens for pair in pairs)
            if not (ours[0] and theirs[0]):
                raise InvalidInput(
                    "model_url counts no tokens in its answers: nothing can be compared", param="model_url"
                )
            state = state.fold(ours, theirs, cost_nano(theirs[0], 0, theirs[1], price))
            told(state.prompt.number, len(comparison.data.rows))
            if (why := state.stops) is not None:
                return state, why
    return state, "prompts"


def said_of(info: CalibrationInfo) -> str:
    """What one came to, as a sentence."""
    from gateway.cost.scenario_words import dollars

    prompt, answer = info.prompt, info.completion
    return (
        f"{info.baseline} counts {float(prompt.ratio):.3f} tokens of prompts for each of {info.tenant}'s "
        f"[{float(prompt.low):.3f}, {float(prompt.high):.3f}], and writes {float(answer.ratio):.3f} for each of ours "
        f"[{float(answer.low):.3f}, {float(answer.high):.3f}]: {info.pairs} conversations, {dollars(info.spent_nano)}, "
        f"stopped by: {info.stopped}"
    )


@calibrate.command("list")
def list_all(
    tenant: str | None = typer.Option(None, "--tenant", help="Only this tenant's."), json_output: bool = JsonFlag
) -> None:
    """Show calibrations, the newest first."""
    from gateway.cost.scenario_words import dollars
    from registry.days import when

    with open_registry() as registry:
        found = registry.calibrations.all(tenant)
    if json_output:
        print_json(found)
        return
    rows = [
        (
            one.tenant,
            one.baseline,
            *(
                f"{float(of.ratio):.3f} [{float(of.low):.3f}, {float(of.high):.3f}]"
                for of in (one.prompt, one.completion)
            ),
            one.pairs,
            dollars(one.spent_nano),
            one.stopped,
            when(one.made_at_ms),
        )
        for one in found
    ]
    headings = ("TENANT", "BASELINE", "PROMPTS", "ANSWERS", "PAIRS", "SPENT", "STOPPED BY", "MADE")
    print_table(headings, rows, empty="no calibration yet")
