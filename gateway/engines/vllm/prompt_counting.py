"""How many tokens a prompt has, by the engine's own `/tokenize` (vLLM 0.31 to 0.33), before it is served.

`/tokenize` takes a conversation through the code that serves it, and fewer fields: what a request says beside those is
given to it in the form that it has in the template. Where a model's prompts are made by other code than a template
(Harmony, Kimi K3), the two differ: so an engine is asked both ways when it is met.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from gateway.api.dialects.tokenize import renamed_thoughts
from gateway.engines.vllm.control import INFERENCE_PATHS, ProbeRefused, Unintelligible, Unreachable, VllmControl

TOKENIZE_PATH = INFERENCE_PATHS["tokenize"]
_TAKEN = ("tools", "add_generation_prompt", "continue_final_message", "add_special_tokens")
"""Fields of a chat request that `/tokenize` takes as they are."""
_TRIED_TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}},
}
_TRIED: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "Hello!"}],
    "tools": [_TRIED_TOOL],
    "tool_choice": "none",  # then it needs no parser for calls; templates print the tools all the same
}


class Questions(NamedTuple):
    """What to ask for the count of all prompts of a request: the sum of the answers, and `known`."""

    known: int
    bodies: list[bytes]


def questions(body: Mapping[str, Any], understood: Set[str]) -> Questions | None:
    """Of a checked body; `None` when something in it may change the prompt in a way that `/tokenize` does not know, as
    what is not among the `understood` fields.
    """
    if body.keys() - understood or "suffix" in body:
        return None
    if "messages" in body:
        return Questions(0, [orjson.dumps(_of_chat(body))])
    prompt = body["prompt"]
    prompts = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    extra = {"add_special_tokens": body["add_special_tokens"]} if "add_special_tokens" in body else {}
    texts = [one for one in prompts if isinstance(one, str)]
    known = sum(len(one) for one in prompts if not isinstance(one, str))
    return Questions(known, [orjson.dumps({"prompt": one, **extra}) for one in texts])


def _of_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """Without a model's name: an adapter may be unloaded meanwhile, and all are tokenised alike."""
    asked = {name: body[name] for name in _TAKEN if name in body}
    asked["messages"] = [renamed_thoughts(message) for message in body["messages"]]
    variables = dict(body.get("chat_template_kwargs") or {})
    if body.get("documents") is not None:
        variables["documents"] = body["documents"]
    if (effort := body.get("reasoning_effort")) is not None:
        variables.setdefault("enable_thinking", effort != "none")
        variables["reasoning_effort"] = effort
    if variables:
        asked["chat_template_kwargs"] = variables
    return asked


async def counts_what_it_serves(control: VllmControl, model: str) -> bool:
    """Whether an engine's `/tokenize` counts a conversation with tools as the engine does that answers it.

    It answers with one token. Raises `Unreachable` when it cannot be talked to; that it fails is no reason not to
    serve.
    """
    asked = questions(_TRIED, _TRIED.keys())
    assert asked is not None
    counted = served = None
    try:
        with suppress(ProbeRefused):
            counted = await control.counted(orjson.loads(asked.bodies[0]))
        with suppress(ProbeRefused):
            served = await control.prompt_tokens({"model": model, **_TRIED, "cache_salt": secrets.token_hex(8)})
    except Unintelligible:
        return False
    except Unreachable:
        if await control.healthy():
            return False
        raise
    return counted == served  # both are nothing without a chat template: it serves no chat, and counts prompts
