"""A body of `/v1/feedback`, checked: one piece, or a list of them. Errors name fields as the client wrote them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import invalid, listed, missing, shown, text, unknown_keys, wrong_type
from gateway.errors import BadRequest
from registry.errors import InvalidInput
from registry.experiments.metrics import check_feedback_name
from registry.outcomes.said import Said

FIELDS = frozenset({"response_id", "unit", "model", "metric", "value", "comment", "idempotency_key"})
SEVERAL = "feedback"
"""The field of a body that has a list of pieces."""
MOST_PIECES = 100
MOST_LABEL_CHARS, MOST_COMMENT_CHARS, MOST_UNIT_CHARS, MOST_ID_CHARS, MOST_MODEL_CHARS = 256, 2_000, 256, 512, 256
LARGEST = 1e15
KEY = "idempotency_key"
KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[!-~]{1,255}")
_REQUEST = re.compile(r"(?:[a-z]{2,16}[-_])?([0-9a-f]{32})(?:[-_].*)?", re.DOTALL)
"""Ids of answers have the request's in them: `chatcmpl-…`, `cmpl-…`, `resp_…`, `msg_…`; so has `x-request-id`."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of feedback as it was sent: about an answer (`response_id`), or about a unit of a model (`unit`)."""

    path: str
    """Before the names of its fields, in errors."""
    said: Said
    key: str | None
    response_id: str | None
    unit: str | None
    model: str | None

    @property
    def request_id(self) -> str | None:
        """Of the answer; `None`: no answer of ours has such an id."""
        found = _REQUEST.fullmatch(self.response_id or "")
        return None if found is None else found[1]


def pieces_of(body: Mapping[str, Any], key_header: str | None, caps: Caps) -> list[Piece]:
    """All that a body says. Raises `BadRequest`."""
    key = None if key_header is None else _key(key_header, KEY_HEADER)
    if SEVERAL not in body:
        return [_piece(body, "", key, caps)]
    if others := [name for name in body if name in FIELDS]:
        raise BadRequest(
            f"'{others[0]}' stands beside '{SEVERAL}'; put it into the pieces of the list, or send one piece without "
            "the list.",
            param=others[0],
            code="invalid_value",
        )
    given = listed(body[SEVERAL], SEVERAL, "pieces", MOST_PIECES)
    if not given:
        raise invalid(SEVERAL, f"a list of 1 to {MOST_PIECES} pieces", given)
    found = []
    for number, one in enumerate(given):
        path = f"{SEVERAL}[{number}]."
        if type(one) is not dict:
            raise wrong_type(path[:-1], "an object", one)
        if unknown := [f"{path}{name[:64]}" for name in one if name not in FIELDS]:
            raise unknown_keys(unknown)
        found.append(_piece(one, path, None if key is None else f"{key}/{number}", caps))
    return found


def _piece(given: Mapping[str, Any], path: str, key_header: str | None, caps: Caps) -> Piece:
    def some(name: str, most: int) -> str | None:
        value = given.get(name)
        return None if value is None else str(text(most, least_chars=1)(value, f"{path}{name}", caps))

    response_id, unit, model = (
        some("response_id", MOST_ID_CHARS),
        some("unit", MOST_UNIT_CHARS),
        some("model", MOST_MODEL_CHARS),
    )
    if (response_id is None) == (unit is None):
        raise BadRequest(
            f"'{path}response_id' or '{path}unit' must say what the feedback is about, and not both. Send the id of an "
            "answer, or the unit that its requests had, with 'model'.",
            param=f"{path}response_id",
            code="missing_required_parameter" if unit is None else "invalid_value",
        )
    if unit is not None and model is None:
        raise missing(f"{path}model")
    metric = some("metric", MOST_MODEL_CHARS)
    if metric is None:
        raise missing(f"{path}metric")
    try:
        check_feedback_name(metric)
    except InvalidInput as error:
        raise BadRequest(
            f"'{path}metric'{error.message.removeprefix('metric')}.", param=f"{path}metric", code="invalid_value"
        ) from None
    said = _said(metric, given.get("value"), some("comment", MOST_COMMENT_CHARS), path, caps)
    own = some(KEY, 255)
    key = key_header if own is None else _key(own, f"{path}{KEY}")
    if own is not None and not path and key_header not in (None, own):
        raise BadRequest(
            f"'{KEY}' is {shown(own)} and the header {KEY_HEADER} is {shown(key_header)}. Send one of them.",
            param=KEY,
            code="invalid_value",
        )
    return Piece(path, said, key, response_id, unit, model)


def _said(metric: str, value: Any, comment: str | None, path: str, caps: Caps) -> Said:
    param = f"{path}value"
    if value is None:
        raise missing(param)
    if type(value) is bool:
        return Said(metric, "boolean", float(value), comment=comment)
    if type(value) is str:
        return Said(metric, "label", None, text(MOST_LABEL_CHARS, least_chars=1)(value, param, caps), comment)
    if type(value) is not int and type(value) is not float:
        raise wrong_type(param, "true, false, a number or a label (a string)", value)
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise invalid(param, f"a number from {-LARGEST:g} to {LARGEST:g}", value)
    return Said(metric, "number", float(value), comment=comment)


def _key(given: str, param: str) -> str:
    if _KEY.fullmatch(given) is None:
        raise BadRequest(
            f"'{param}' must be 1 to 255 printable ASCII characters without spaces, not {shown(given)}.",
            param=param,
            code="invalid_value",
        )
    return given
