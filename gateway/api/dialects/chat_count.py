"""What dialects have in common that count the tokens of a chat: engines are asked to tokenise it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import Any

from gateway.api.dialects.tokenize import Tokenize, of_chat
from gateway.api.dialects.translated import Translated
from gateway.api.dialects.unmetered import Unmetered, UnmeteredReader
from gateway.api.fields.caps import Caps
from gateway.api.fields.settled import settle
from gateway.errors import ApiError
from gateway.handoffs import Admitted, Endpoint, EngineBroke, EngineCount, InferenceRequest
from gateway.keeping import Item

_COUNT = re.compile(rb'\{"count":(\d+)[,}]')


class ChatCount(Unmetered):
    """A dialect whose answer is how many tokens a prompt has."""

    answer_begins = Tokenize.answer_begins
    answer: bytes
    """A whole answer, with `%b` for the number."""
    counts: Translated
    """What has the prompt: its chat is counted, and its state gone on from; nothing is kept."""

    @cached_property
    def asks(self) -> Endpoint:
        """The count of a chat."""
        return Tokenize.name

    @property
    def engine_fields(self) -> Set[str]:
        """Those of that."""
        return Tokenize.forwarded.keys()

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """Of the chat that it would be."""
        of = self.counts
        chat = of.chat(given, body)
        settle(chat)
        request = super().request(model, given, of_chat(chat), body_bytes, caps)
        keeping = of.keeping({**given, "store": False})
        return request._replace(conversation_id=of.conversation(given), user=of.user(given), keeping=keeping)

    def continued(self, request: InferenceRequest, earlier: Sequence[Item]) -> InferenceRequest:
        """The chat of all turns."""
        return self.counts.continued(request, earlier)

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """Of the chat."""
        return "messages"

    def public_field(self, field: str) -> str:
        """As what is counted has it."""
        return self.counts.public_field(field)

    def error_body(self, error: ApiError) -> bytes:
        """Likewise."""
        return self.counts.error_body(error)

    def error_event(self, error: ApiError) -> bytes:
        """Likewise, though it has no streams."""
        return self.counts.error_event(error)

    def reader(self, admitted: Admitted, count: EngineCount) -> CountReader:
        """No token is used."""
        super().reader(admitted, count)
        return CountReader(self.answer_begins, self.answer)


class CountReader(UnmeteredReader):
    """Makes a client's count of an engine's."""

    def __init__(self, begins: bytes, answer: bytes) -> None:
        super().__init__(begins)
        self._answer = answer

    def document(self, data: bytes) -> bytes:
        """The count alone: the tokens behind it are not read. Raises `EngineBroke`."""
        found = _COUNT.match(super().document(data))
        if found is None:
            raise EngineBroke("the engine's answer cannot be understood")
        return self._answer % found[1]
