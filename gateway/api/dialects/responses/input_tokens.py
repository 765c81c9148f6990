"""OpenAI's count of the tokens that a response would read, earlier turns too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.api.dialects.chat_count import ChatCount
from gateway.api.dialects.responses.dialect import Responses
from gateway.api.dialects.responses.fields import FORWARDED, NOT_FORWARDED, REFUSED
from gateway.api.dialects.responses.rules import RULES
from gateway.api.dialects.responses.translation import chat_of
from gateway.api.dialects.tokenize import of_chat
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import text
from gateway.api.fields.settled import settle
from gateway.errors import ApiError
from gateway.handoffs import InferenceRequest
from gateway.keeping import Item, Keeping

_RESPONSE = Responses()
"""What is counted."""
_READ = (
    *("input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation"),
    *("documents", "chat_template_kwargs"),
)
"""Fields of a response of which the model reads something, or OpenAI thinks that it might."""
_NOT_READ = ("conversation", "previous_response_id", "metadata", "user", "safety_identifier")


class InputTokens(ChatCount):
    """How many tokens the prompt of a response has."""

    name = "input_tokens"
    path = "/v1/responses/input_tokens"
    summary = "OpenAI's count of the tokens that a response would read"
    required = ("input",)
    forwarded = {name: FORWARDED[name] for name in _READ}  # noqa: RUF012
    not_forwarded = {  # noqa: RUF012
        **{name: NOT_FORWARDED[name] for name in _NOT_READ},
        "personality": text(64),  # a style of OpenAI's own models
    }
    refused = REFUSED
    rules = tuple(rule for rule in RULES if rule[0] in {*_READ, *_NOT_READ})
    answer = b'{"object":"response.input_tokens","input_tokens":%b}'

    def parse(self, raw: bytes, *, caps: Caps, allow_unknown: bool, model: str | None = None) -> InferenceRequest:
        """The checked request of a body. Raises what `parse_request` raises, in the client's terms."""
        try:
            return super().parse(raw, caps=caps, allow_unknown=allow_unknown, model=model)
        except ApiError as error:
            error.in_client_terms = True
            raise

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """Of the chat that the response would be; nothing is kept of it."""
        chat = chat_of(given, body)
        settle(chat)
        counted = super().request(model, given, of_chat(chat), body_bytes, caps)
        return counted._replace(keeping=_keeping(given), conversation_id=_RESPONSE.conversation(given))

    def continued(self, request: InferenceRequest, earlier: Sequence[Item]) -> InferenceRequest:
        """The chat of all turns."""
        return _RESPONSE.continued(request, earlier)

    def public_field(self, field: str) -> str:
        """As a response has it."""
        return _RESPONSE.public_field(field)

    def error_body(self, error: ApiError) -> bytes:
        """In the names that its clients know."""
        return _RESPONSE.error_body(error)


def _keeping(given: Mapping[str, Any]) -> Keeping | None:
    """The state that a response would go on from."""
    return _RESPONSE.keeping({**given, "store": False})
