"""From the bytes of a body to a request that the engine can be trusted with.

A dialect says what each field may be and what holds between fields; here that is looked at. Whatever is wrong with a
body is a 400 that names the field, or a 413.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

import orjson

from gateway.api.bounds import BODY, Bounds
from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps, lenient
from gateway.api.fields.checks import Check, shallow, text, unknown_keys
from gateway.api.fields.faults import Faults
from gateway.api.fields.table import NO_OPS, RESERVED, UNSUPPORTED
from gateway.api.fields.together import Rule
from gateway.errors import BadRequest, PayloadTooLarge
from gateway.handoffs import InferenceRequest

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some editors and shells begin UTF-8 with it."""
_CLOSE = 0.82
"""Of two names' likeness, from which on one may be meant for the other: `max_tokens` and `min_tokens` are 0.8."""
_MODEL = text(256, least_chars=1)
_NOTHING: tuple[Any, ...] = (False, "", [])
"""What asks for nothing, of a field that is refused."""


class Fields(Protocol):
    """What is looked at of a dialect (`gateway.api.dialects.dialect`)."""

    forwarded: Mapping[str, Check]
    not_forwarded: Mapping[str, Check]
    refused: Mapping[str, str]
    required: Sequence[str]
    rules: Sequence[tuple[str, Rule]]

    def known(self) -> list[str]:
        """The names that a client can use."""

    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """The checked request."""


def parse_request(
    fields: Fields, raw: bytes, *, caps: Caps, allow_unknown: bool, model: str | None = None
) -> InferenceRequest:
    """Check a body and make the engine's body of it. Where the address names a `model`, that is meant.

    With `allow_unknown`, fields that no table lists go to the engine unread; reserved ones never do.
    A key given twice counts once, the last time: the engine gets the parsed body, so both read the same.

    Raises `PayloadTooLarge` (413) above `caps.max_body_bytes`, else `BadRequest` (400) with the field in `param`.
    """
    if allow_unknown:
        caps = lenient(caps)
    given = json_object(raw, caps)
    if model is not None:
        given["model"] = model
    try:
        named = _MODEL(_required(given, "model"), "model", caps)
        body = _checked(fields, given, caps)
        for name, rule in fields.rules:
            if given.get(name) is not None:
                rule(given, caps)
        return fields.request(named, given, body, len(raw), caps)
    except BadRequest as error:
        raise error.about(given.get("model")) from None


def _checked(fields: Fields, given: dict[str, Any], caps: Caps) -> dict[str, Any]:
    """What goes to the engine, of which every field has passed its own check; `given` has the same values then."""
    body: dict[str, Any] = {}
    unknown = []
    faults = Faults()
    forwarded, not_forwarded = fields.forwarded, fields.not_forwarded
    for name, value in given.items():
        if value is None or name == "model":
            continue
        try:
            if (check := forwarded.get(name)) is not None:
                given[name] = checked = check(value, name, caps)
                if checked is not None:
                    body[name] = checked
            elif name in not_forwarded:
                not_forwarded[name](value, name, caps)
            elif name in RESERVED or name in UNSUPPORTED or name in fields.refused:
                _refuse_unless_it_says_nothing(name, value, fields.refused)
            elif name not in replayed.ANYWHERE:
                unknown.append(name)
        except BadRequest as fault:
            faults.add(fault)
    try:
        if unknown:
            body |= _unread(fields, unknown, given, caps)
        if body.keys().isdisjoint(fields.required):
            _required(given, *fields.required)
    except BadRequest as fault:
        faults.add(fault)
    if faults:
        faults.settle()
    return body


def json_object(raw: bytes, caps: Caps, bounds: Bounds = BODY) -> dict[str, Any]:
    """The object that a body is, of so much structure at most. Raises `PayloadTooLarge`, `BadRequest`."""
    if len(raw) > caps.max_body_bytes:
        raise PayloadTooLarge(
            f"The body has {len(raw)} bytes; the most is {caps.max_body_bytes}. Send less text.",
            code="payload_too_large",
        )
    raw = raw.removeprefix(BYTE_ORDER_MARK)
    if not raw:
        raise BadRequest("The body is empty. Send a JSON object.", code="invalid_json")
    bounds.refuse_more(raw)
    try:
        given = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from error
    if type(given) is not dict:
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return given


def _required(given: dict[str, Any], *names: str) -> Any:
    """The value of the first of these fields that is there."""
    for name in names:
        if given.get(name) is not None:
            return given[name]
    either = " or ".join(f"'{name}'" for name in names)
    raise BadRequest(f"{either} is required.", param=names[0], code="missing_required_parameter")


def _unread(fields: Fields, unknown: list[str], given: dict[str, Any], caps: Caps) -> dict[str, Any]:
    """The fields that no table lists, for a tenant whose unknown fields pass; else their refusal, all at once."""
    if caps.passes_unknown:
        return {name: shallow(given[name], name[:64], caps) for name in unknown}
    closest = get_close_matches(unknown[0][:64], fields.known(), n=1, cutoff=_CLOSE)
    remedy = f"Did you mean '{closest[0]}'?" if closest else "Remove it."
    raise unknown_keys([name[:64] for name in unknown], remedy)


def _refuse_unless_it_says_nothing(name: str, value: Any, refused: Mapping[str, str]) -> None:
    if any(type(value) is type(nothing) and value == nothing for nothing in NO_OPS.get(name, _NOTHING)):
        return
    if name in RESERVED:
        message = f"'{name}' cannot be set by clients, on engines of any kind: {RESERVED[name]}. Remove it."
        raise BadRequest(message, param=name, code="reserved_parameter")
    raise BadRequest(
        f"'{name}' is not supported, on engines of any kind. {refused.get(name) or UNSUPPORTED[name]}",
        param=name,
        code="unsupported_parameter",
    )
