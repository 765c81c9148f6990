"""Values of fields that vLLM refuses, in its words: types by its request models, ranges by its sampling parameters."""

from __future__ import annotations

from typing import Any

from loadtest.mock_engine.wire import EngineError

MOST_LOGPROBS = 20
"""vLLM's --max-logprobs."""


def refuse_values(body: dict[str, Any]) -> None:
    """Raises EngineError."""
    temperature = body.get("temperature")
    if isinstance(temperature, str):
        raise _invalid("float_parsing", "temperature", "Input should be a valid number")
    if temperature is not None and temperature < 0:
        raise _refused(f"temperature must be non-negative, got {float(temperature)}.", "temperature")
    interval = body.get("stream_interval")
    if interval is not None and interval < 1:
        raise _invalid("greater_than_equal", "stream_interval", "Input should be greater than or equal to 1")
    for index, message in enumerate(body.get("messages") or ()):
        if not isinstance(message["role"], str):
            raise _invalid("string_type", f"messages.{index}.role", "Input should be a valid string")
    if body.get("tools") == []:
        text = "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely."
        raise _refused(text, "tools")
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema" and wanted.get("json_schema") is None:
        text = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        raise _refused(text, "response_format")


def refuse_logprobs(body: dict[str, Any]) -> None:
    """Raises EngineError."""
    asked = body.get("top_logprobs") if "messages" in body else body.get("logprobs")
    if (asked or 0) > MOST_LOGPROBS:
        text = f"Requested sample logprobs of {asked}, which is greater than max allowed: {MOST_LOGPROBS}"
        raise _refused(text, "logprobs")


def _invalid(kind: str, field: str, message: str) -> EngineError:
    detail = {"type": kind, "loc": f"body.{field}", "msg": message}
    return EngineError(400, "Bad Request", f"1 validation error:\n  {detail}", f"body.{field}")


def _refused(text: str, param: str) -> EngineError:
    return EngineError(400, "BadRequestError", f"{text} (parameter={param})", param)
