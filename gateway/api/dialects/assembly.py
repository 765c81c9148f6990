"""One document of the stream that an engine was asked for, as the engine itself would have written it in one piece.

A client that goes before its answer is complete has cost what was made until then, and an answer in one piece says
nothing of that before its end: so it is asked for as a stream, with a count in every chunk (`Generation.counted`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.api.dialects.cost import cost_of
from gateway.api.dialects.engine_events import EngineChunks
from gateway.errors import ApiError
from gateway.handoffs import Admitted, EngineBroke, EngineCount

_SCORES, _SCORES_END = b'"logprobs":', b'},"finish_reason":'


class ScoredChunks(EngineChunks):
    """Chunks of one choice each, whose log-probabilities stay the bytes that they are: 75 for each, where objects take
    several hundred.

    An engine writes compact JSON and escapes quotes inside strings, so that with bare quotes it is the field.
    """

    __slots__ = ()

    def parsed(self, data: bytes) -> dict[str, Any]:
        """With `logprobs` of its choice in bytes, or None. Raises `orjson.JSONDecodeError`, IndexError, KeyError."""
        begins = data.find(_SCORES + b"{") + len(_SCORES)
        if begins < len(_SCORES):
            return super().parsed(data)
        ends = data.rfind(_SCORES_END) + 1
        chunk = super().parsed(data[:begins] + b"null" + data[ends:])
        chunk["choices"][0]["logprobs"] = data[begins:ends]
        return chunk


@dataclass(slots=True)
class Written:
    """What has come of one choice."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    scores: list[bytes] | None = None
    """Log-probabilities, as each chunk has them; None where there are none."""
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    role: str = "assistant"
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class Assembly(ABC):
    """Reads the stream of one answer, and writes the document when all of it came."""

    kind: str
    """What a document calls itself, as `object`."""

    __slots__ = ("_admitted", "_chunks", "_count", "_first", "_written")

    def __init__(self, admitted: Admitted, count: EngineCount) -> None:
        request = admitted.request
        self._admitted = admitted
        self._count = count
        self._chunks = ScoredChunks(count, request.body.get("n") or 1)
        self._first: dict[str, Any] | None = None
        self._written = [Written() for _ in range(request.choices)]

    @property
    def complete(self) -> bool:
        """Whether the end of the stream came."""
        return self._chunks.complete

    def document(self, data: bytes) -> bytes:
        """An engine that was asked for a stream sends no other. Raises `EngineBroke`."""
        raise EngineBroke("the engine was asked for a stream and sent none")

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """Nothing for the client yet, and the event in which the engine says that it failed, if there is one. Raises
        `EngineBroke`.
        """
        chunks, failure = self._chunks.read(block)
        try:
            for chunk in chunks:
                if self._first is None:
                    self._first = chunk
                for choice in chunk["choices"]:
                    self._take(choice)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EngineBroke("the engine's events cannot be understood") from error
        return b"", failure

    def rest(self) -> bytes:
        """The document. Raises `EngineBroke` when something is missing that every answer has."""
        first, usage = self._first, self._chunks.usage
        if first is None or usage is None or any(choice.finish_reason is None for choice in self._written):
            raise EngineBroke("the engine's answer ended without all of its choices, or without a count of tokens")
        try:
            return orjson.dumps(self._whole(first, usage))
        except (TypeError, AttributeError) as error:
            raise EngineBroke("the engine's answer cannot be understood") from error

    def _whole(self, first: dict[str, Any], usage: dict[str, Any]) -> dict[str, Any]:
        whole = {
            "id": first.get("id"),
            "object": self.kind,
            "created": first.get("created"),
            "model": self._admitted.arm.public_name,
            "choices": [self.choice(index, written) for index, written in enumerate(self._written)],
            "service_tier": None,
            "system_fingerprint": self._chunks.fingerprint,
            "usage": self._shown(usage),
        }
        if first.get("prompt_token_ids") is not None:
            whole["prompt_token_ids"] = first["prompt_token_ids"]
        return whole

    def failed(self, error: ApiError) -> bytes:
        """Nothing of it went out before its end."""
        return self._admitted.request.dialect.error_body(error)

    def _take(self, choice: dict[str, Any]) -> None:
        written = self._written[choice["index"]]
        self.take(choice, written)
        if (scores := choice.get("logprobs")) is not None:
            written.scores = written.scores or []
            written.scores.append(scores)
        if (ids := choice.get("token_ids")) is not None:
            written.token_ids = written.token_ids or []
            written.token_ids += ids
        if (reason := choice.get("finish_reason")) is not None:
            written.finish_reason, written.stop_reason = reason, choice.get("stop_reason")

    def _shown(self, usage: dict[str, Any]) -> dict[str, Any]:
        """The count, with the details that a document has in any case, and with its cost if that was asked for. How an
        engine fills its cache is the operator's affair.
        """
        read = usage.get("prompt_tokens_details") or {}
        count = self._count
        prompt, completion = count.prompt_tokens or 0, count.completion_tokens or 0
        shown = {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": {"cached_tokens": read["cached_tokens"]} if "cached_tokens" in read else None,
            "completion_tokens_details": usage.get("completion_tokens_details"),
        }
        if self._admitted.request.shows_cost:
            shown["cost"] = orjson.Fragment(cost_of(self._admitted, count))
        return shown

    @abstractmethod
    def take(self, choice: dict[str, Any], written: Written) -> None:
        """Some more text of a choice."""

    @abstractmethod
    def choice(self, index: int, written: Written) -> dict[str, Any]:
        """A choice of the document."""

    def ending(self, written: Written) -> dict[str, Any]:
        """The fields of a choice that come last: those of vLLM alone only where it says something."""
        last: dict[str, Any] = {"finish_reason": written.finish_reason}
        for name in ("stop_reason", "token_ids", "prompt_token_ids"):
            if (value := getattr(written, name)) is not None:
                last[name] = value
        return last
