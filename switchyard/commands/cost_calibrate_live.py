"""`switchyard cost calibrate live`: how many tokens a baseline counts for each of ours, in a sample of live traffic."""

from __future__ import annotations

from contextlib import closing
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
from switchyard.commands.asking import step_bar
from switchyard.commands.cost_calibrate import FOLDER, said_of
from switchyard.console import actor, print_json, say
from switchyard.options import JsonFlag
from switchyard.registry_access import open_registry

if TYPE_CHECKING:
    from gateway.cost.calibration import Calibrating
    from registry.calibrations.store import CalibrationInfo, Ratio
    from registry.service import Registry
    from switchyard.cost_live import SampledRequest
    from trainer.endpoints.client import Client, Reply
    from trainer.pairwise.run_file import RunFile

REFUSED = 400
"""By an API: of this request, and not of all."""


def live(
    shadow: int = typer.Argument(help="A shadow's id (`switchyard experiments shadows`): its share is the sample."),
    baseline: str = BaselineOption,
    model: str | None = ModelOption,
    model_url: str = ModelUrlOption,
    key_file: Path | None = KeyFileOption,
    key_env: str = KeyEnvOption,
    budget: str = BudgetOption,
    tight: float = TightOption,
    json_output: bool = JsonFlag,
) -> None:
    """Ask an API what a shadow samples of live traffic, until the ratio of tokens is known well enough.

    It waits for requests as they come, and ends when the ratios are tight, the budget is spent, or the shadow has
    ended. Ctrl-C stops it; what was answered is kept, without texts, and the same command goes on.
    """
    api = AskedApi(baseline, model or baseline, model_url, key_file, key_env)
    with open_registry() as registry:
        info = _carried_out(registry, shadow, api, budget, tight)
    print_json(info) if json_output else say(said_of(info))


def _carried_out(registry: Registry, shadow_id: int, api: AskedApi, budget: str, tight: float) -> CalibrationInfo:
    from gateway.cost.calibration import Calibrating
    from registry.calibrations.store import CalibrationInfo
    from registry.money import cost_nano, dollars_to_nano
    from switchyard.cost_live import sampled
    from trainer.pairwise.pairs import digest_of
    from trainer.pairwise.run_file import open_run

    state = Calibrating(tight, dollars_to_nano(budget, "budget"))
    sample = registry.shadows.get(shadow_id)
    tenant = sample.adapter.partition("/")[0]
    registry.calibrations.require_consent(tenant)
    price = api.price(registry)
    about = {"live": {"shadow": shadow_id, "model": api.model, "where": api.url}}
    file = registry.settings.state_dir / FOLDER / f"{digest_of(about)}.jsonl"
    stopped, own_model = "shadow", sample.adapter
    with (
        api.client() as there,
        open_run(file, about) as run_file,
        closing(sampled(registry, shadow_id)) as requests,
        step_bar("conversations of live traffic") as told,
    ):
        for one in requests:
            reply = _reply(run_file, there, api.model, one)
            if reply is None:
                continue
            nano = cost_nano(reply.prompt_tokens, 0, reply.answer_tokens, price)
            own, theirs = (one.prompt_tokens, one.completion_tokens), (reply.prompt_tokens, reply.answer_tokens)
            state, own_model = state.fold(own, theirs, nano), one.model
            told(state.prompt.number, state.prompt.number)
            if (why := state.stops) is not None:
                stopped = why
                break
    prompt, completion = _told(state, stopped)
    named = f"live traffic: {sample.share / 10_000:g} of {sample.adapter}@{sample.alias} by shadow {shadow_id}"
    return registry.calibrations.add(
        CalibrationInfo(
            tenant,
            api.baseline,
            own_model,
            api.model,
            api.url,
            named,
            state.prompt.number,
            prompt,
            completion,
            state.spent_nano,
            stopped,
            actor(),
        )
    )


def _told(state: Calibrating, stopped: str) -> tuple[Ratio, Ratio]:
    """Both ratios. Raises `InvalidInput` where too few were answered."""
    prompt, completion = state.prompt.told(), state.completion.told()
    if prompt is None or completion is None:
        raise InvalidInput(
            f"shadow has sampled {state.prompt.number} conversations that were answered; 30 are needed (stopped by: "
            f"{stopped}), and what was answered is kept",
            param="shadow",
        )
    return prompt, completion


def _reply(file: RunFile, there: Client, model: str, one: SampledRequest) -> Reply | None:
    """What the API took for it, without a word of what it said; `None` where it refuses this request."""
    from trainer.endpoints.client import Manner, Reply
    from trainer.errors import EndpointError

    known = file.reply(one.request_id, "b")
    if known is not None:
        return known
    try:
        found = there.chat(model, one.messages, Manner(one.max_tokens, one.temperature), one.tools)
    except EndpointError as error:
        if error.status == REFUSED:
            return None
        raise
    if not (found.prompt_tokens and found.answer_tokens):
        raise InvalidInput("model_url counts no tokens in its answers: nothing can be compared", param="model_url")
    kept = Reply("", found.ended, found.latency_s, found.prompt_tokens, found.answer_tokens)
    file.keep_reply(one.request_id, "b", kept)
    return kept
