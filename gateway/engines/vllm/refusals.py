"""What vLLM (0.31 to 0.33) says when it refuses or fails, in our words. Its own names never reach a client."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.api.fields.schema_faults import schema_fault
from gateway.engines.abilities import refusal as unsupported
from gateway.engines.connection import AdapterMissing, EngineUnreachable
from gateway.engines.kind import Asked
from gateway.engines.names import digest_in
from gateway.engines.vllm.abilities import NO_REASONING_PARSER, NO_TOOL_PARSER
from gateway.engines.vllm.answers import refusal_of
from gateway.errors import BadRequest, EngineFailed
from gateway.handoffs import EngineBroke

ABOUT_GRAMMARS = re.compile(r"grammar|schema|regex", re.IGNORECASE)
"""What its refusals of structured outputs speak of; of none does it say where the fault is."""
UNKNOWN_MODEL = re.compile(r"The model `[^`]*` does not exist")
"""Engines that pool name no parameter."""
ABOUT_DIMENSIONS = re.compile(r"[Mm]atryoshka|\bdimensions\b")
MOST_CHARACTERS = 2_000
"""Of what it says that clients are told."""
_OF_ITS_HOST = re.compile(
    r"(?:^|[\s'\"`(=:\[,])/(?:[\w.+~-]+/)+[\w.+~-]*"  # a path
    r"|\b[A-Za-z]:\\|\w://|\bTraceback\b|\bFile \"|\b0x[0-9a-f]{6,}\b"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}\b|\[[0-9a-f]*:[0-9a-f:.]+\]|\b(?:localhost|[a-z][\w-]*(?:\.[\w-]+)+):\d{2,5}\b",
    re.IGNORECASE,
)
"""Paths, addresses, code: what a client has no business with, whoever put it there."""
WITHHELD = "The engine refuses this request; what it says names places on its host, and is withheld."
CONSTRAINTS = ("structured_outputs", "response_format")
BLAMES_BODY = (400, 413, 422)
"""Statuses by which it says that the request's body is at fault."""
DEAD_ENGINE = "EngineCore"
"""In its message when the engine itself has died, and not the request been at fault."""


def translate(status: int, body: bytes, asked: Asked) -> Exception:
    """An answer that is no 200."""
    try:
        error = orjson.loads(body)["error"]
        message, param = str(error["message"]), error.get("param")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        message, param = f"HTTP {status}", None
    if status == 404 and (param == "model" or UNKNOWN_MODEL.match(message)):
        return AdapterMissing(asked.engine_name)
    if status == 503:
        return EngineUnreachable("the engine is overloaded (HTTP 503)")
    if status == 400 and NO_TOOL_PARSER in message:
        return unsupported("tool_calls", asked.public_name)
    if status == 400 and NO_REASONING_PARSER in message:
        return unsupported("reasoning", asked.public_name)
    if status in (400, 413) and (too_long := _too_long(message, param, asked)):
        return too_long
    request = asked.admitted.request
    about_grammar = status in BLAMES_BODY and ABOUT_GRAMMARS.search(message)
    if about_grammar or (status == 500 and DEAD_ENGINE not in message):
        fault = schema_fault(request.body)
        if fault is not None:
            return fault.by_engine()
    constraint = _constraint_of(request.body)
    if status in BLAMES_BODY:
        param = param or (constraint if about_grammar else None) or _named(message)
        return BadRequest(_publicly(message, asked), param=param, code="engine_refused").by_engine()
    if DEAD_ENGINE in message:
        return EngineUnreachable("the engine died")
    if status != 500:  # path, key and headers are ours, and the same for every request
        return EngineUnreachable(f"the engine answers HTTP {status}; its log says why")  # ours may have no prompt in it
    if constraint is not None:
        return BadRequest(
            f"'{constraint}' cannot be compiled or met.", param=constraint, code="constraint_failed"
        ).by_engine()
    return EngineFailed("The engine failed on this request.", code="engine_error").by_engine()


def translate_event(event: bytes, asked: Asked, *, begun: bool) -> Exception:
    """An event in which it says that it failed. It checks much of a request behind the head of its stream, and the
    event has the status then that it would have answered otherwise: before an answer has `begun`, it is that refusal.
    """
    data = event.removeprefix(b"data: ")
    try:
        said = orjson.loads(data)
        if "error" not in said:
            return EngineBroke("the engine gave its answer up")
        message, status = str(said["error"]["message"]), said["error"].get("code")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        message, status = "unknown", None
    if not begun and type(status) is int:
        return translate(status, data, asked)
    if DEAD_ENGINE in message:
        return EngineBroke("the engine died while it answered")
    return EngineFailed(
        f"The engine failed while it answered: {_publicly(message, asked)}", code="engine_error"
    ).by_engine()


def _too_long(message: str, param: str | None, asked: Asked) -> BadRequest | None:
    request = asked.admitted.request
    prompt = request.dialect.prompt_field(request.body)
    return refusal_of(_publicly(message, asked), param, prompt, asked.context)


def _publicly(message: str, asked: Asked) -> str:
    """A message on one line, with our name of the model in place of the engine's, which may be a word such as `base`:
    vLLM quotes names, and only adapters' names stand for nothing else. One that tells of the engine's host is withheld.
    """
    message = " ".join("".join(one if one.isprintable() else " " for one in message[:MOST_CHARACTERS]).split())
    if _OF_ITS_HOST.search(message):
        return WITHHELD
    name = re.escape(asked.engine_name)
    where = rf"(?<![\w-]){name}(?![\w-])" if digest_in(asked.engine_name) else rf"(?<=([`'\"])){name}(?=\1)"
    return re.sub(where, lambda _: asked.public_name, message)


def _named(message: str) -> str | None:
    """The field that a refusal of vLLM's speaks of in words alone."""
    return "dimensions" if ABOUT_DIMENSIONS.search(message) else None


def _constraint_of(body: Mapping[str, Any]) -> str | None:
    """The field whose grammar the answer must meet."""
    if body.get("tool_choice", "auto") not in ("auto", "none"):
        return "tools"
    return next((name for name in CONSTRAINTS if body.get(name) is not None), None)
