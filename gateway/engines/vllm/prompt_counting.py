"""How many tokens a prompt has, by the engine's own `/tokenize` (vLLM 0.31 to 0.33), before it is served.

`/tokenize` takes a conversation through the code that serves it, and fewer fields: what a request says beside those is
given to it in the form that it has in the template. Where a model's prompts are made by other code than a template
(Harmony, Kimi K3), the two differ: so an engine is asked both ways when it is met.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import Any

import orjson

from gateway.api.dialects.tokenize import of_chat
from gateway.engines.connection import EngineClient
from gateway.engines.kind import Questions
from gateway.engines.vllm.paths import INFERENCE_PATHS

_TRIED_TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}},
}
_COUNT = re.compile(rb'"count":(\d+)[,}]')
"""With what follows it: an answer may be cut anywhere on its way, also within a number."""
TRIED: Mapping[str, Any] = {
    "messages": [{"role": "user", "content": "Hello!"}],
    "tools": [_TRIED_TOOL],
    "tool_choice": "none",  # then it needs no parser for calls; templates print the tools all the same
}


def questions(body: Mapping[str, Any], understood: Set[str]) -> Questions | None:
    """Of a checked body; `None` when something in it may change the prompt in a way that `/tokenize` does not know, as
    what is not among the `understood` fields.
    """
    if body.keys() - understood or "suffix" in body:
        return None
    if "messages" in body:
        return Questions(0, [orjson.dumps(of_chat(body))])
    prompt = body.get("prompt", body.get("input"))
    if prompt is None:
        return None
    prompts = prompt if isinstance(prompt, list) and not isinstance(prompt[0], int) else [prompt]
    extra = {"add_special_tokens": body["add_special_tokens"]} if "add_special_tokens" in body else {}
    texts = [one for one in prompts if isinstance(one, str)]
    known = sum(len(one) for one in prompts if not isinstance(one, str))
    return Questions(known, [orjson.dumps({"prompt": one, **extra}) for one in texts])


async def count(client: EngineClient, body: bytes, timeout_s: float) -> int | None:
    """The count, which is an answer's first field: the ids behind it are read and dropped. `None`: it was refused."""
    async with client.request(INFERENCE_PATHS["tokenize"], b"", (body,), head_timeout_s=timeout_s) as exchange:
        found, head = None, b""
        while data := await exchange.some(timeout_s):
            if found is None and len(head) < 256:
                head += data[:256]
                found = _COUNT.search(head)
        return int(found[1]) if found is not None and exchange.status == 200 else None
