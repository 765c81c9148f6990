"""Answers whose form is asked for: JSON of a schema, one of a few words, and calls of tools.

vLLM's grammars leave a model no other choice; the mock says the plainest thing that fits. A tool that must be called is
called, with arguments that fit its parameters. Of tools that may be called those are whose names the last message
has, if a user wrote it: `Ask get_weather about Oslo` calls `get_weather`, and its result is answered by text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.mock_engine.answers import Choice, tokenize, words_of

Json = dict[str, Any]
MOST_DEPTH = 16
"""Of a schema that refers to itself."""
PLAIN: Mapping[str, Any] = {"string": "text", "integer": 7, "number": 0.5, "boolean": True, "null": None}


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, whose arguments are the words from `begins` to `ends`."""

    name: str
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that is decided by what was asked for."""

    words: tuple[str, ...]
    """The texts of its tokens."""
    calls: tuple[Call, ...] = ()
    ends: str = "stop"
    """Its finish reason, if it is not cut off."""

    def choice(self, index: int, count: int, finish_reason: str, vocab_size: int) -> Choice:
        """Its first tokens as a choice."""
        words = self.words[:count]
        return Choice(index, tuple(tokenize(word, vocab_size)[0] for word in words), words, finish_reason)

    def message(self, job_id: str, choice: Choice) -> Json:
        """The entries of a message that carry its calls, as far as a choice has them."""
        calls = [call for call in self.calls if call.begins < len(choice.words)]
        return {
            "content": "",
            "tool_calls": [
                {
                    "id": _id(job_id, choice.index, number),
                    "type": "function",
                    "function": {
                        "name": call.name,
                        "arguments": "".join(choice.words[call.begins : call.ends]),
                    },
                }
                for number, call in enumerate(calls)
            ],
        }

    def delta(self, job_id: str, choice: Choice, start: int, end: int) -> Json:
        """The same of the tokens start..end. A call begins with two entries of one index, as vLLM's where it joins."""
        entries: list[Json] = []
        for number, call in enumerate(self.calls):
            first, last = max(start, call.begins), min(end, call.ends)
            if first >= last:
                continue
            if first == call.begins:
                begun = {"id": _id(job_id, choice.index, number), "type": "function", "index": number}
                entries.append({**begun, "function": {"name": call.name}})
            entries.append({"index": number, "function": {"arguments": "".join(choice.words[first:last])}})
        return {"content": None, "tool_calls": entries}


def _id(job_id: str, index: int, number: int) -> str:
    return f"chatcmpl-tool-{job_id.rpartition('-')[2]}{index}{number}"


def said(body: Json, *, calls_tools: bool) -> Said | None:
    """What a checked body leaves no choice about; None where the model is free."""
    tools = _called(body) if calls_tools else []
    if tools:
        words: list[str] = []
        calls = []
        for tool in tools:
            begins = len(words)
            words += words_of(json.dumps(_example(tool.get("parameters") or {})))
            calls.append(Call(tool["name"], begins, len(words)))
        return Said(tuple(words), tuple(calls), "stop" if isinstance(body.get("tool_choice"), dict) else "tool_calls")
    text = _text(body)
    return None if text is None else Said(words_of(text))


def _called(body: Json) -> Sequence[Json]:
    tools, choice = [tool["function"] for tool in body.get("tools") or ()], body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        return [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    if choice == "required":
        return tools[:1]
    last = body["messages"][-1] if tools else {}
    if choice != "auto" or last.get("role") != "user":
        return []
    content = last.get("content") or ""
    text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    named = [tool for tool in tools if tool["name"] in text]
    return named[:1] if body.get("parallel_tool_calls") is False else named


def _text(body: Json) -> str | None:
    wanted, given = body.get("response_format") or {}, body.get("structured_outputs") or {}
    if given.get("choice"):
        return str(given["choice"][0])
    schema = given.get("json")
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"].get("schema")
    if schema is not None:
        return json.dumps(_example(json.loads(schema) if isinstance(schema, str) else schema))
    return '{"answer": "yes"}' if wanted.get("type") == "json_object" or given.get("json_object") else None


def _example(schema: Json) -> Any:
    return _fitting(schema, schema, MOST_DEPTH)


def _fitting(schema: Any, root: Json, depth: int) -> Any:
    """The plainest value that a schema takes."""
    if not isinstance(schema, dict) or depth == 0:
        return None
    if "$ref" in schema:
        return _fitting(_referred(schema["$ref"], root), root, depth - 1)
    for several in ("anyOf", "oneOf", "allOf"):
        if schema.get(several):
            return _fitting(schema[several][0], root, depth - 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        inner: Json = schema.get("properties") or {}
        return {
            name: _fitting(inner[name], root, depth - 1) for name in schema.get("required", [*inner]) if name in inner
        }
    if kind == "array":
        return [_fitting(schema.get("items"), root, depth - 1)] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number") and "minimum" in schema:
        return schema["minimum"]
    return PLAIN.get(kind)


def _referred(reference: str, root: Json) -> Any:
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found
