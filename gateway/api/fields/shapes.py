"""The structured fields: output formats, tools, stream options, template arguments."""

from __future__ import annotations

import re
from typing import Any

import orjson

from gateway.api.bounds import loads_within
from gateway.api.fields import replayed
from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import (
    Unknown,
    flag,
    integer,
    invalid,
    keyed,
    listed,
    name,
    one_of,
    options,
    schema,
    shallow,
    text,
    texts,
    too_many,
    wrong_type,
)
from gateway.api.fields.faults import Faults, each
from gateway.api.fields.grammar_cost import affordable, affordable_alone
from gateway.errors import BadRequest

_DESCRIPTION = text(65_536)
_FORMATS = one_of("text", "json_object", "json_schema")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

# Parameters of transformers' `apply_chat_template`, which vLLM lets a request set through `chat_template_kwargs`.
_TEMPLATE_OWNED = frozenset(
    {
        *("conversation", "messages", "tools", "documents", "chat_template", "tokenizer_kwargs", "tokenize"),
        *("add_generation_prompt", "continue_final_message", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask", "self", "tokenizer"),
    }
)


def response_format(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """OpenAI's `response_format`: text, any JSON, or JSON of a schema."""
    given = options(value, param, frozenset({"type", "json_schema"}), caps)
    kind = _FORMATS(given.get("type"), f"{param}.type", caps)
    if kind != "json_schema":
        return {"type": kind}
    path = f"{param}.json_schema"
    inner = options(given.get("json_schema"), path, frozenset({"name", "description", "schema", "strict"}), caps)
    checked: dict[str, Any] = {"name": name(inner.get("name"), f"{path}.name", caps)}
    checked["schema"] = _compiled(inner.get("schema"), f"{path}.schema", caps)
    if "description" in inner:
        checked["description"] = _DESCRIPTION(inner["description"], f"{path}.description", caps)
    if "strict" in inner:
        checked["strict"] = flag(inner["strict"], f"{path}.strict", caps)
    return {"type": kind, "json_schema": checked}


def _compiled(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    affordable([schema(value, param, caps)], param, caps)
    return value  # type: ignore[no-any-return]


def _grammar(value: Any, param: str, caps: Caps) -> str:
    source: str = text(caps.max_grammar_bytes, least_chars=1)(value, param, caps)
    if len(source.encode()) > caps.max_grammar_bytes:
        raise too_many(param, "bytes", len(source.encode()), caps.max_grammar_bytes)
    affordable_alone(source, param, caps)
    return source


def _choices(value: Any, param: str, caps: Caps) -> list[str]:
    checked: list[str] = texts(lambda caps: caps.max_grammar_bytes)(value, param, caps)
    if not checked:
        raise invalid(param, "a non-empty list of strings", value)
    if (size := len(orjson.dumps(checked))) > caps.max_grammar_bytes:
        raise too_many(param, "bytes", size, caps.max_grammar_bytes)
    return checked


def _schema_or_text(value: Any, param: str, caps: Caps) -> Any:
    if type(value) is not str:
        return _compiled(value, param, caps)
    try:
        _compiled(loads_within(value, param), param, caps)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"'{param}' is not valid JSON: {error}.", param=param, code="invalid_value") from error
    return value


_CONSTRAINTS = {
    "json": _schema_or_text,
    "regex": _grammar,
    "choice": _choices,
    "grammar": _grammar,
    "json_object": flag,
}
_WHITESPACE = {"disable_any_whitespace": flag, "disable_additional_properties": flag, "whitespace_pattern": _grammar}
_STRUCTURED = _CONSTRAINTS | _WHITESPACE
_UNCOUNTED = frozenset({"structural_tag", "_backend", "_backend_was_auto"})
"""vLLM reads them, and nothing here can say what they cost."""


def structured_outputs(value: Any, param: str, caps: Caps) -> dict[str, Any] | None:
    """vLLM's `structured_outputs`: exactly one constraint, compiled by the engine and therefore capped in bytes; None
    when all in it is null."""
    given = options(value, param, frozenset(_STRUCTURED), caps, never=_UNCOUNTED)
    if value and all(item is None for item in value.values()):
        return None
    if len(_CONSTRAINTS.keys() & given.keys()) != 1:
        kinds = ", ".join(f"'{kind}'" for kind in _CONSTRAINTS)
        raise BadRequest(f"'{param}' takes exactly one of {kinds}.", param=param, code="invalid_value")
    return {key: _STRUCTURED[key](item, f"{param}.{key}", caps) for key, item in given.items()}


def tools(value: Any, param: str, caps: Caps) -> list[dict[str, Any]]:
    """Function tools; what their grammar costs is a matter of `tool_choice` too, see `together`."""
    return each(listed(value, param, "tools", caps.max_tools), param, lambda tool, path: _tool(tool, path, caps))


_TOOL_KEYS = frozenset({"type", "function"})
_FUNCTION_KEYS = frozenset({"name", "description", "parameters", "strict"})


def _tool(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    if type(value) is dict and (value.get("type") or "function") != "function":
        raise BadRequest(
            f"'{param}.type' must be 'function'; other kinds of tools are not supported.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    unknown: Unknown = "pass" if caps.passes_unknown else "refused"
    given = keyed(value, param, _TOOL_KEYS, dropped=replayed.IN_TOOL, unknown=unknown)
    path = f"{param}.function"
    function = keyed(given.get("function"), path, _FUNCTION_KEYS, dropped=replayed.IN_TOOL, unknown=unknown)
    name(function.get("name"), f"{path}.name", caps)
    if "description" in function:
        _DESCRIPTION(function["description"], f"{path}.description", caps)
    if "parameters" in function:
        schema(function["parameters"], f"{path}.parameters", caps)
    if "strict" in function:
        flag(function["strict"], f"{path}.strict", caps)
    if caps.passes_unknown:
        shallow({key: item for key, item in function.items() if key != "parameters"}, path, caps)
        shallow({key: item for key, item in given.items() if key != "function"}, param, caps)
    return {**given, "type": "function", "function": function}


def tool_choice(value: Any, param: str, caps: Caps) -> Any:
    """`none`, `auto`, `required`, or one function by its name."""
    expected = '\'none\', \'auto\', \'required\' or {"type": "function", "function": {"name": …}}'
    if value in ("none", "auto", "required"):
        return value
    if type(value) is not dict or value.get("type") != "function":
        raise invalid(param, expected, value)
    given = options(value, param, frozenset({"type", "function"}), caps)
    function = options(given.get("function"), f"{param}.function", frozenset({"name"}), caps)
    return {"type": "function", "function": {"name": name(function.get("name"), f"{param}.function.name", caps)}}


def stream_options(value: Any, param: str, caps: Caps) -> dict[str, bool]:
    """OpenAI's stream options and vLLM's one. `include_obfuscation` asks for padding that the engine never sends."""
    known = frozenset({"include_usage", "include_obfuscation", "continuous_usage_stats"})
    given = options(value, param, known, caps)
    for key, item in given.items():
        flag(item, f"{param}.{key}", caps)
    return given


def usage_options(value: Any, param: str, caps: Caps) -> dict[str, bool]:
    """OpenRouter's `usage`: whether the answer's usage says what the answer cost."""
    given = options(value, param, frozenset({"include"}), caps)
    for key, item in given.items():
        flag(item, f"{param}.{key}", caps)
    return given


def template_kwargs(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """Switches of the chat template (`enable_thinking`): at most 32, scalar, none of the renderer's own."""
    if type(value) is not dict:
        raise wrong_type(param, "an object", value)
    if len(value) > 32:
        raise too_many(param, "entries", len(value), 32)
    for key, item in value.items():
        path = f"{param}.{key[:64]}"
        if key in _TEMPLATE_OWNED:
            raise BadRequest(f"'{path}' is set by the gateway. Remove it.", param=path, code="reserved_parameter")
        if not _WORD.fullmatch(key):
            raise invalid(param, "an object whose keys are names", key)
        if type(item) is dict or type(item) is list:
            raise wrong_type(path, "a string, number, boolean or null", item)
        if type(item) is str and len(item) > 1_024:
            raise too_many(path, "characters", len(item), 1_024)
    return value


def documents(value: Any, param: str, caps: Caps) -> list[dict[str, str]]:
    """Texts for templates that know retrieval: objects of strings, as in {"title": …, "text": …}."""
    return each(listed(value, param, "documents", caps.max_documents), param, _document)


def _document(value: Any, param: str) -> dict[str, str]:
    if type(value) is not dict:
        raise wrong_type(param, "an object of strings", value)
    kept = {key: item for key, item in value.items() if item is not None}
    faults = Faults()
    for key, item in kept.items():
        if type(item) is not str:
            faults.add(wrong_type(f"{param}.{key[:64]}", "a string", item))
    faults.settle()
    return kept


_PATTERN_SIZE = integer(0, 64)  # tokens; the engine compares that many at every step
_PATTERN_COUNT = integer(0, 1_024)


def repetition_detection(value: Any, param: str, caps: Caps) -> dict[str, int]:
    """vLLM's early stop on repeated patterns of `min_pattern_size` to `max_pattern_size` tokens."""
    given = options(value, param, frozenset({"max_pattern_size", "min_pattern_size", "min_count"}), caps)
    given = {
        key: (_PATTERN_COUNT if key == "min_count" else _PATTERN_SIZE)(item, f"{param}.{key}", caps)
        for key, item in given.items()
    }
    if given.get("min_pattern_size", 0) > given.get("max_pattern_size", 0):
        raise invalid(f"{param}.min_pattern_size", "at most 'max_pattern_size'", given["min_pattern_size"])
    if given.get("max_pattern_size", 0) and given.get("min_count", 0) < 2:
        raise invalid(f"{param}.min_count", "at least 2", given.get("min_count"))
    return given


def text_only(value: Any, param: str, caps: Caps) -> list[str]:
    """OpenAI's `modalities`, of which there is one here."""
    if value != ["text"]:
        raise BadRequest(f"'{param}' must be [\"text\"]: answers are text.", param=param, code="unsupported_value")
    return ["text"]


def prediction(value: Any, param: str, caps: Caps) -> dict[str, Any]:
    """OpenAI's guess of the answer, in text: a hint that makes its engines faster and changes no answer."""
    given = options(value, param, frozenset({"type", "content"}), caps)
    one_of("content")(given.get("type"), f"{param}.type", caps)
    content = given.get("content")
    if type(content) is not str and type(content) is not list:
        raise wrong_type(f"{param}.content", "a string or a list of text parts", content)
    return shallow(given, param, caps)  # type: ignore[no-any-return]


def anything(value: Any, param: str, caps: Caps) -> Any:
    """A field that clients send and nothing here reads."""
    return shallow(value, param, caps)
