"""How many tokens a text or a conversation has, and which: `/v1/tokenize`, as vLLM has it. It costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.dialects.unmetered import Unmetered
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import flag, text
from gateway.api.fields.messages import messages
from gateway.api.fields.settled import settle
from gateway.api.fields.shapes import template_kwargs, tools
from gateway.api.fields.together import Given, no_new_turn
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest

MOST_CHARS = 4_194_304
"""Of a text; the bytes of a body bound it first."""
_TAKEN = ("tools", "add_generation_prompt", "continue_final_message", "add_special_tokens")
"""Fields of a chat request that `/tokenize` takes as they are."""
_OF_CHATS = ("tools", "add_generation_prompt", "continue_final_message", "chat_template_kwargs")


def renamed_thoughts(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its thoughts under the name by which templates get them: vLLM translates the older one when it
    serves a chat, only then.
    """
    if "reasoning_content" not in message:
        return message
    kept = {name: value for name, value in message.items() if name != "reasoning_content"}
    if kept.get("reasoning") is None:
        kept["reasoning"] = message["reasoning_content"]
    return kept


def of_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """What counts the tokens of a checked chat. `/tokenize` takes fewer fields: what else is said is given to it in the
    form that it has in the template. Without a model's name: an adapter may be unloaded meanwhile, and all are
    tokenised alike.
    """
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


def _one_of_them(given: Given, caps: Caps) -> None:
    if given.get("messages") is not None:
        raise BadRequest("Send 'prompt' or 'messages', not both.", param="prompt", code="invalid_value")


def _only_of_a_chat(given: Given, caps: Caps) -> None:
    for name in _OF_CHATS:
        if given.get(name) is not None:
            raise BadRequest(f"'{name}' needs 'messages', not 'prompt'.", param=name, code="invalid_value")


class Tokenize(Unmetered):
    """A text, or a conversation as its template renders it."""

    name = "tokenize"
    path = "/v1/tokenize"
    summary = "vLLM's tokenize: count and ids of the tokens of a text, or of a conversation as the model reads it"
    required = ("messages", "prompt")
    forwarded = {  # noqa: RUF012
        "prompt": text(MOST_CHARS, least_chars=1),
        "messages": messages,
        "tools": tools,
        "add_generation_prompt": flag,
        "continue_final_message": flag,
        "chat_template_kwargs": template_kwargs,
        "add_special_tokens": flag,
        "return_token_strs": flag,
    }
    rules = (("prompt", _one_of_them), ("prompt", _only_of_a_chat), ("continue_final_message", no_new_turn))
    answer_begins = b'{"count":'

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """Whichever was sent."""
        return "messages" if "messages" in body else "prompt"

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """As a chat would be rendered."""
        settle(body)
        if "messages" in body:
            body["messages"] = [renamed_thoughts(message) for message in body["messages"]]
        return super().request(model, given, body, body_bytes, caps)
