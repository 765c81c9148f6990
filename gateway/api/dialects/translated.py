"""What dialects have in common that engines are not asked in: each request is put to an engine as a chat.

Chat is what every engine that generates can do, its streams have a running count of tokens, and all that is checked,
held, counted and split of chats holds for these dialects too.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Set
from functools import cached_property
from typing import Any

from gateway.api.dialects.chat import Chat
from gateway.api.dialects.dialect import Dialect
from gateway.api.dialects.engine_events import COUNTED_STREAM, counted_stream
from gateway.api.fields.caps import Caps
from gateway.api.fields.hints import conversation_of, is_batch, shows_cost, user_of
from gateway.api.fields.needs import needs_of
from gateway.api.fields.settled import settle
from gateway.errors import BadRequest
from gateway.handoffs import Endpoint, InferenceRequest
from gateway.keeping import Keeping

_RULED = frozenset(name for name, _ in Chat.rules)
_OF_CHATS = Chat.forwarded.keys() | {"stream_interval"}


class Translated(Dialect):
    """A dialect that is translated to chats and back."""

    public_fields: Mapping[str, str]
    """What clients call the fields of the chat that are called otherwise there, by the chat's names: paths too, of
    which the longest that fits counts.
    """

    @cached_property
    def asks(self) -> Endpoint:
        """A chat."""
        return Chat.name

    @property
    def engine_fields(self) -> Set[str]:
        """A chat's, and in what pieces it is to come."""
        return _OF_CHATS

    @abstractmethod
    def chat(self, given: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of the chat that a checked body stands for, without `model` and `stream`; `given` and `body` as for
        `request`.
        """

    def conversation(self, given: Mapping[str, Any]) -> str | None:
        """What the client calls the conversation."""
        return conversation_of(given)

    user = staticmethod(user_of)
    """What the client calls its own user, by a checked body."""

    def echo(self, given: Mapping[str, Any]) -> bytes:
        """What the answer repeats of a checked body; of dialects whose answers do."""
        return b""

    def keeping(self, given: Mapping[str, Any]) -> Keeping | None:
        """What a checked body says of state; of dialects that have it."""
        return None

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """As a chat. What holds between the fields of a chat holds here too."""
        chat = self.chat(given, body)
        stream = bool(given.get("stream"))
        if not _RULED.isdisjoint(chat):
            self._hold_together({**chat, "stream": stream}, caps)
        settle(chat)
        if stream:
            chat |= COUNTED_STREAM
        return InferenceRequest(
            self,
            model,
            stream,
            "at the end",
            chat.get("max_completion_tokens"),
            chat,
            self.conversation(given),
            self.user(given),
            needs=needs_of(chat) - self.wishes.keys(),
            body_bytes=body_bytes,
            shows_cost=shows_cost(given),
            echo=self.echo(given),
            keeping=self.keeping(given),
            metadata=given.get("metadata"),
            batch=is_batch(given),
        )

    def counted(self, request: InferenceRequest) -> InferenceRequest:
        """As a stream, where that says the same."""
        return counted_stream(request)

    def _hold_together(self, chat: Mapping[str, Any], caps: Caps) -> None:
        try:
            for name, rule in Chat.rules:
                if chat.get(name) is not None:
                    rule(chat, caps)
        except BadRequest as error:
            raise error.in_terms_of(self.public_field) from None

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """Of the chat."""
        return "messages"

    def public_field(self, field: str) -> str:
        """Of a field or path of the chat: what is within its messages is named by the field that they stand in."""
        public = self.public_fields
        if field.startswith("messages"):
            return public.get("messages", "messages")
        fitting = (name for name in public if field == name or field.startswith((f"{name}.", f"{name}[")))
        found = max(fitting, key=len, default="")
        return public[found] + field[len(found) :] if found else field
