"""What dialects have in common whose answers are numbers about texts, and not tokens: `vllm serve --runner pooling`.

Only prompts are counted, held and paid for. An answer comes in one piece.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from gateway.api.dialects.cost import cost_of
from gateway.api.dialects.dialect import Dialect
from gateway.api.dialects.generation import USAGE, USAGE_BEGINS
from gateway.api.dialects.unstreamed import Unstreamed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import MAX_TOKEN_ID, Check, flag, integer, one_of
from gateway.api.fields.hints import conversation_of, shows_cost, user_of
from gateway.api.fields.table import HINTS
from gateway.errors import BadRequest
from gateway.handoffs import Admitted, EngineCount, EngineLied, InferenceRequest

HEAD_BYTES = 2_000
"""In which the count stands, if it does not stand at the end."""
CHARS_PER_TOKEN = 4
MARKS = 8
"""Tokens that are put around and between the texts of one input, at most."""
OPTIONS: dict[str, Check] = {
    "truncate_prompt_tokens": integer(-1, MAX_TOKEN_ID),  # -1: to the model's context
    "truncation_side": one_of("left", "right"),
    "use_activation": flag,
}


class Pooling(Dialect):
    """A dialect whose requests use the tokens of their prompts."""

    not_forwarded = {name: HINTS[name] for name in ("metadata", "user", "safety_identifier", "usage")}  # noqa: RUF012

    @abstractmethod
    def inputs(self, body: Mapping[str, Any]) -> int:
        """How many times the model is run for a checked body."""

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """Never streamed, and nothing is written."""
        return InferenceRequest(
            self,
            model,
            False,
            "at the end",
            0,
            body,
            conversation_of(given),
            user_of(given),
            self.inputs(body),
            shows_cost=shows_cost(given),
            body_bytes=body_bytes,
            metadata=given.get("metadata"),
        )

    def added_tokens(self, body: Mapping[str, Any]) -> int:
        """What stands around each input."""
        return MARKS * self.inputs(body)

    def reader(self, admitted: Admitted, count: EngineCount) -> PoolingReader:
        """Of a document with a count."""
        return PoolingReader(admitted, count)


class PoolingReader(Unstreamed):
    """Takes the count in, and puts it as clients know it. Where the numbers are, nothing is looked at: there may be a
    hundred megabytes of them.
    """

    def __init__(self, admitted: Admitted, count: EngineCount) -> None:
        self._admitted = admitted
        self._count = count

    def document(self, data: bytes) -> bytes:
        """All of it, or the end of it, with the count in OpenAI's form. Raises `EngineBroke`."""
        begins = data.find(USAGE_BEGINS, 0, HEAD_BYTES)
        found = USAGE.match(data, begins if begins >= 0 else data.rfind(USAGE_BEGINS))
        if found is None or not data.endswith(b"}"):
            raise EngineLied("usage_missing", "the engine's answer has no count of tokens")
        try:
            counted = {**orjson.loads(found[1]), "completion_tokens": 0}
        except (orjson.JSONDecodeError, TypeError):
            raise EngineLied("usage_malformed", "the engine's count of tokens cannot be understood") from None
        self._count.final(counted)
        return data[: found.start(1)] + self._usage() + data[found.end(1) :]

    def _usage(self) -> bytes:
        count = self._count
        read = count.prompt_tokens or 0
        usage = b'{"prompt_tokens":%d,"total_tokens":%d' % (read, read)
        if self._admitted.request.shows_cost:
            usage += b',"cost":%b' % cost_of(self._admitted, count)
        return usage + b"}"


def refuse_too_much(param: str, texts: Iterable[Any], caps: Caps) -> None:
    """Raises `BadRequest` where texts (or lists of token ids) have more tokens together than one request may have: an
    engine works on all of them before it takes the next request's. A quarter of a text's characters counts.
    """
    tokens = sum(-(-len(one) // CHARS_PER_TOKEN) if type(one) is str else len(one) for one in texts)
    if tokens > caps.max_input_tokens:
        raise BadRequest(
            f"'{param}' has about {tokens} tokens; the most of one request is {caps.max_input_tokens}. Send it in "
            "several requests.",
            param=param,
            code="invalid_value",
        )
