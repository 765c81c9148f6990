"""What dialects have in common that count the tokens of a chat: engines are asked to tokenise it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from functools import cached_property
from typing import Any

from gateway.api.dialects.tokenize import Tokenize
from gateway.api.dialects.unmetered import Unmetered, UnmeteredReader
from gateway.handoffs import Admitted, Endpoint, EngineBroke, EngineCount

_COUNT = re.compile(rb'\{"count":(\d+)[,}]')


class ChatCount(Unmetered):
    """A dialect whose answer is how many tokens a prompt has."""

    answer_begins = Tokenize.answer_begins
    answer: bytes
    """A whole answer, with `%b` for the number."""

    @cached_property
    def asks(self) -> Endpoint:
        """The count of a chat."""
        return Tokenize.name

    @property
    def engine_fields(self) -> Set[str]:
        """Those of that."""
        return Tokenize.forwarded.keys()

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """Of the chat."""
        return "messages"

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
