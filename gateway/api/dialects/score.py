"""vLLM's score: how well texts go with others, pair by pair."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.api.dialects.pooling import OPTIONS, Pooling, refuse_too_much
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import MAX_TOKEN_ID, Check, bad_items, integer, invalid, too_many, wrong_type
from gateway.api.fields.together import Given
from gateway.errors import BadRequest
from gateway.handoffs import InferenceRequest
from registry.bases.normalization import normal_bytes

_EXPECTED = "a non-empty string, or a non-empty list of such"
_NAMES = (("queries", "documents"), ("text_1", "text_2"), ("queries", "items"), ("data_1", "data_2"))
"""The names of both sides, which clients of several releases of vLLM send; the first two are asked of engines."""
PER_TEXT: dict[str, Check] = {
    "max_tokens_per_query": integer(0, MAX_TOKEN_ID),
    "max_tokens_per_doc": integer(0, MAX_TOKEN_ID),
}


def texts_of(value: Any, param: str, caps: Caps) -> Any:
    """A text, or a list of texts; none of them empty."""
    if type(value) is not str and type(value) is not list:
        raise wrong_type(param, _EXPECTED, value)
    if not value:
        raise invalid(param, _EXPECTED, value)
    if type(value) is str:
        return value
    if len(value) > caps.max_inputs:
        raise too_many(param, "texts", len(value), caps.max_inputs)
    if bad := [(index, item) for index, item in enumerate(value) if type(item) is not str]:
        raise bad_items(param, "strings", bad, "invalid_type")
    if bad := [(index, item) for index, item in enumerate(value) if not item]:
        raise bad_items(param, "non-empty", bad, "invalid_value")
    return value


def as_list(value: str | list[str]) -> list[str]:
    """A checked text, or texts, as a list."""
    return [value] if isinstance(value, str) else value


def _sides(given: Given) -> tuple[str, str]:
    """The two names that a body uses. Raises `BadRequest`."""
    for names in _NAMES:
        if all(given.get(name) is not None for name in names):
            return names
    first = next(one for one, _ in _NAMES if given.get(one) is not None)
    other = next(two for one, two in _NAMES if one == first)
    raise BadRequest(f"'{first}' needs '{other}'.", param=other, code="missing_required_parameter")


def _paired(given: Given, caps: Caps) -> None:
    one, two = _sides(given)
    left, right = as_list(given[one]), as_list(given[two])
    if len(left) not in (1, len(right)):
        raise BadRequest(
            f"'{one}' has {len(left)} texts and '{two}' {len(right)}: send one, or as many.",
            param=one,
            code="invalid_value",
        )
    refuse_too_much(two, [*left * (len(right) // len(left)), *right], caps)


class Score(Pooling):
    """Texts on two sides: one with each of many, or pairs."""

    name = "score"
    path = "/v1/score"
    summary = "vLLM's score: how well texts go with others"
    required = ("queries", "text_1", "data_1")
    forwarded = OPTIONS | PER_TEXT | {name: texts_of for names in _NAMES for name in names}
    rules = tuple((one, _paired) for one in required)
    question = MappingProxyType({"queries": "Say hello.", "documents": "Hello."})
    answers_in = "data"

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """With the names that engines know."""
        one, two = _sides(given)
        texts = {"queries": body[one], "documents": body[two]}
        for name in {name for names in _NAMES for name in names}:
            body.pop(name, None)
        body |= texts
        return super().request(model, given, body, body_bytes, caps)

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """The side of which there may be more."""
        return "documents"

    def inputs(self, body: Mapping[str, Any]) -> int:
        """One for each text, which is as many as there can be: some models read pairs, others texts."""
        return len(as_list(body["queries"])) + len(as_list(body["documents"]))

    def added_tokens(self, body: Mapping[str, Any]) -> int:
        """A query may be read with each document."""
        queries, documents = as_list(body["queries"]), as_list(body["documents"])
        again = len(documents) - 1 if len(queries) == 1 else 0
        return super().added_tokens(body) + again * normal_bytes(queries[0])
