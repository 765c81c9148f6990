"""A completion's document, of its stream."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.api.dialects.assembly import Assembly, Written
from gateway.handoffs import EngineBroke

_BEGINS, _ENDS = b'{"text_offset":[', b"]}"
_BETWEEN = (b'],"token_logprobs":[', b'],"tokens":[', b'],"top_logprobs":[')
"""What stands between the four lists of log-probabilities."""


class CompletionsAssembly(Assembly):
    """Of all choices of all prompts."""

    kind = "text_completion"

    __slots__ = ()

    def take(self, choice: dict[str, Any], written: Written) -> None:
        """Its text; with the first of it the ids of its prompt, if they were asked for."""
        if text := choice["text"]:
            written.text.append(text)
        if (ids := choice.get("prompt_token_ids")) is not None and self._admitted.request.body.get("return_token_ids"):
            written.prompt_token_ids = ids

    def choice(self, index: int, written: Written) -> dict[str, Any]:
        """As OpenAI has it."""
        scores = None if written.scores is None else orjson.Fragment(_joined(written.scores))
        written.scores = None  # there may be a hundred megabytes
        return {"index": index, "text": "".join(written.text), "logprobs": scores, **self.ending(written)}


def _joined(scores: list[bytes]) -> bytes:
    """Those of all chunks, in one. Raises `EngineBroke`."""
    chunks = [_lists(one) for one in scores]
    offsets, *others = [b",".join(one for one in lists if one) for lists in zip(*chunks, strict=True)]
    rest = (b"%b%b" % both for both in zip(_BETWEEN, others, strict=True))
    return b"%b%b%b%b" % (_BEGINS, offsets, b"".join(rest), _ENDS)


def _lists(scores: bytes) -> list[bytes]:
    """The insides of the four lists: what separates them has bare quotes, so it stands in no text. Raises
    `EngineBroke`.
    """
    if not (scores.startswith(_BEGINS) and scores.endswith(_ENDS)):
        raise EngineBroke("the engine's log-probabilities cannot be understood")
    found, rest = [], scores[len(_BEGINS) : -len(_ENDS)]
    for between in _BETWEEN:
        inside, separator, rest = rest.partition(between)
        if not separator:
            raise EngineBroke("the engine's log-probabilities cannot be understood")
        found.append(inside)
    return [*found, rest]
