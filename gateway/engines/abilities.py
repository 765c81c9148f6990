"""What not every engine can do, and what a client is told whose model lies only on engines that cannot.

An engine's flags decide: it is asked for its endpoints, tools and reasoning when it is met, and log-probabilities of
prompts are as it is declared, because no question but the deadly one would tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from gateway.api.dialects import DIALECTS
from gateway.errors import BadRequest, EndpointMissing
from gateway.handoffs import Ability, Endpoint

_REFUSALS: Mapping[Ability, tuple[str, str]] = {
    "tool_calls": (
        "tools",
        "'tools' cannot be used with {model}: its engines run without a parser for calls of tools. Leave 'tools' out, "
        "or say in 'tool_choice' that none is called. The operator can start them with --enable-auto-tool-choice and "
        "--tool-call-parser, if the base model's chat template knows tools: `switchyard base tool-parser` names it. "
        "The sample base of `make up` knows none; `switchyard up --base-model ORG/NAME` takes one that does, such as "
        "Qwen/Qwen2.5-0.5B-Instruct.",
    ),
    "reasoning": (
        "thinking_token_budget",
        "'thinking_token_budget' cannot be used with {model}: its engines run without a parser for reasoning. Leave it "
        "out. The operator can start them with --reasoning-parser, if the base model reasons.",
    ),
    "prompt_logprobs": (
        "echo",
        "Log-probabilities of a prompt ('echo' with 'logprobs', or 'prompt_logprobs') cannot be had from {model}: "
        "vLLM's CPU engines (0.32) die of them when lm_head is among the modules of LoRA. The operator of one that was "
        "started with --lora-target-modules without lm_head sets SWITCHYARD_ENGINE_PROMPT_LOGPROBS=true.",
    ),
}


def refusal(ability: Ability, model: str) -> BadRequest:
    """What a client hears who asks an engine for what it cannot do."""
    param, message = _REFUSALS[ability]
    return BadRequest(message.format(model=model), param=param, code="unsupported_by_engine")


def no_endpoint(endpoint: Endpoint, model: str, kinds: Iterable[str], missing: Set[Endpoint]) -> EndpointMissing:
    """What a client hears who asks at an endpoint that no engine of the model has; `endpoint` is the name of the
    client's dialect, `missing` are the endpoints that none of them has.
    """
    served = ", ".join(dialect.path for dialect in DIALECTS.values() if dialect.asks not in missing)
    which = ", ".join(sorted(set(kinds)))
    return EndpointMissing(
        f"{model} is not served at {DIALECTS[endpoint].path}: its engines ({which}) lack that. They have {served}.",
        param="model",
        code="endpoint_not_served",
    )
