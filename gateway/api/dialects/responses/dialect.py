"""OpenAI's Responses: where, and what becomes of a request."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from gateway.api.dialects.responses.document import Document, echo_of
from gateway.api.dialects.responses.fields import FORWARDED, NOT_FORWARDED, REFUSED
from gateway.api.dialects.responses.kept import REFERENCE, kept_items, response_of
from gateway.api.dialects.responses.options import THOUGHTS, conversation_id
from gateway.api.dialects.responses.output import Events
from gateway.api.dialects.responses.reader import ResponseReader, error_event
from gateway.api.dialects.responses.rules import RULES
from gateway.api.dialects.responses.translation import chat_of, messages_of
from gateway.api.dialects.responses.whole import WholeReader
from gateway.api.dialects.translated import Translated
from gateway.api.fields.hints import conversation_of
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineCount, InferenceRequest
from gateway.keeping import Answered, Item, Keeping, Status
from gateway.sealed_request import with_fields

_OF_CHATS = re.compile(r"(?<=\])\.function\b|(?<=^tool_choice)\.function\b")
"""What stands around a function in a chat, and not here."""


class Responses(Translated):
    """A response to an input, whole or as a stream of events."""

    name = "responses"
    path = "/v1/responses"
    summary = "OpenAI's responses, streamed or not"
    required = ("input",)
    forwarded = FORWARDED
    not_forwarded = NOT_FORWARDED
    refused = REFUSED
    rules = RULES
    public_fields = MappingProxyType(
        {
            "messages": "input",
            "max_completion_tokens": "max_output_tokens",
            "max_tokens": "max_output_tokens",
            "response_format": "text.format",
            "response_format.json_schema": "text.format",
            "reasoning_effort": "reasoning.effort",
            "logprobs": "include",
            "continue_final_message": "input",
        }
    )

    # Functions as they are: a method that calls one costs a request what it costs to call it, and as much again.
    chat = staticmethod(chat_of)
    echo = staticmethod(echo_of)
    kept = staticmethod(kept_items)

    def conversation(self, given: Mapping[str, Any]) -> str | None:
        """What the metadata calls it, as in chats; else a conversation that is kept here."""
        return conversation_of(given) or (conversation_id(given) if "conversation" in given else None)

    def keeping(self, given: Mapping[str, Any]) -> Keeping | None:
        """OpenAI keeps what is not asked not to be kept."""
        store, previous_id = given.get("store") is not False, given.get("previous_response_id")
        conversation = conversation_id(given) if "conversation" in given else None
        items, referred, carries = given["input"], {}, False
        for item in items:
            if item["type"] == REFERENCE:
                referred[item["id"]] = response_of(item["id"])
            carries = carries or "encrypted_content" in item
        seals = THOUGHTS in (given.get("include") or ())
        if not store and previous_id is None and conversation is None and not (referred or carries or seals):
            return None
        return Keeping(
            store,
            items,
            int(time.time()),
            previous_id,
            conversation,
            bool(given.get("background")),
            given.get("instructions"),
            referred=referred,
            carries_thoughts=carries,
            seals_thoughts=seals,
        )

    def continued(self, request: InferenceRequest, earlier: Sequence[Item]) -> InferenceRequest:
        """The chat of all turns; the instructions of earlier ones hold no longer, as OpenAI has it."""
        keeping = request.keeping
        assert keeping is not None
        messages = messages_of(keeping.instructions, [*earlier, *keeping.items])
        return with_fields(request, messages=messages)

    def without_output(self, admitted: Admitted, status: Status, error: ApiError | None) -> Answered:
        """With the error, if there is one."""
        document = Document(admitted)
        written = document.unfinished(status) if error is None else document.failed(error, b"[]")
        return Answered(document.id, status, [], written)

    def reader(self, admitted: Admitted, count: EngineCount) -> ResponseReader | WholeReader:
        """Of events or of a document."""
        request = admitted.request
        return (ResponseReader if request.stream or request.assembled else WholeReader)(admitted, count)

    def public_field(self, field: str) -> str:
        """A tool is a function here, and does not have one."""
        return super().public_field(_OF_CHATS.sub("", field))

    def error_event(self, error: ApiError) -> bytes:
        """As a reader says it that has said nothing."""
        return error_event(error, Events())
