"""What dialects that use no tokens have in common: nothing is held for them but a request, and zero is booked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.dialects.dialect import Dialect
from gateway.api.dialects.unstreamed import Unstreamed
from gateway.api.fields.caps import Caps
from gateway.api.fields.hints import conversation_of, user_of
from gateway.api.fields.table import HINTS
from gateway.handoffs import Admitted, EngineBroke, EngineCount, InferenceRequest


class Unmetered(Dialect):
    """A dialect whose requests use no tokens, and whose answers are one JSON object."""

    uses_tokens = False
    not_forwarded = {name: HINTS[name] for name in ("metadata", "user", "safety_identifier")}  # noqa: RUF012
    answer_begins: bytes
    """The first bytes of every good answer."""

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """Never streamed, and without an answer that could be long."""
        conversation_id, user = conversation_of(given), user_of(given)
        metadata = given.get("metadata")
        return InferenceRequest(
            self, model, False, "never", None, body, conversation_id, user, body_bytes=body_bytes, metadata=metadata
        )

    def engine_body(self, body: Mapping[str, Any], model: str, cache_salt: str) -> dict[str, Any]:
        """Nothing is cached."""
        return {**body, "model": model}

    def reader(self, admitted: Admitted, count: EngineCount) -> UnmeteredReader:
        """Whatever becomes of it, no token is used."""
        count.final({"prompt_tokens": 0, "completion_tokens": 0})
        return UnmeteredReader(self.answer_begins)


class UnmeteredReader(Unstreamed):
    """Sees to it that an answer is one."""

    def __init__(self, begins: bytes) -> None:
        self._begins = begins

    def document(self, data: bytes) -> bytes:
        """As it is. Raises `EngineBroke`."""
        if not data.startswith(self._begins) or not data.endswith(b"}"):
            raise EngineBroke("the engine's answer cannot be understood")
        return data
