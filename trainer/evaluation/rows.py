"""The held-out rows of an evaluation: JSONL as for training, and any other fields beside it, by which it can be sliced.

`{"messages": [...], "channel": "mail"}`, `{"prompt": "...", "completion": "..."}`, `{"instruction": "...", "output":
"..."}`, or a pair for DPO, whose better answer is the right one. Every answer of an assistant with weight 1 is asked
for; a conversation that ends with its user is asked for an answer that has no reference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.data.convert import message_row
from trainer.data.dvc import located
from trainer.data.faults import DataError, Fault
from trainer.data.formats import KEYS, format_of
from trainer.data.functions import with_tools
from trainer.data.lines import Line, kind, read_lines, shown, text_fault
from trainer.data.parse import parse
from trainer.data.turns import is_learnt

Prompt = str | tuple[dict[str, Any], ...]
PAIR: Literal["preference"] = "preference"
MAX_MESSAGES = 1_000
OWN_FIELDS = frozenset(key for keys in KEYS.values() for key in keys)
MAX_FIELD_CHARACTERS = 60
"""Of a field's value by which rows are sliced."""


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One question. `reference` is None when the row has no right answer; `tools` are what a chat offers.

    Rows with the same `unit` are turns of one conversation, or begin as one: they say much the same, and count as one
    when it is asked how sure a difference is. `fields` are what else the line has, as short texts.
    """

    line: int
    unit: str
    prompt: Prompt
    reference: str | None
    fields: dict[str, str]
    tools: tuple[dict[str, Any], ...] = ()

    @property
    def prompt_characters(self) -> int:
        """Of all messages together."""
        if isinstance(self.prompt, str):
            return len(self.prompt)
        return sum(len(text_of(message.get("content"))) for message in self.prompt)


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Rows that were read. `digest` is `sha256:<hex>` of the file's bytes; `left_out` counts rows beyond the most."""

    name: str
    digest: str
    rows: tuple[EvaluationRow, ...]
    left_out: int

    @property
    def units(self) -> int:
        """Conversations that differ."""
        return len({row.unit for row in self.rows})


def read_rows(file: Path, most: int) -> EvaluationSet:
    """The first `most` rows of a JSONL file. DataError lists every line that is no row."""
    read = read_lines(located(file))
    faults = list(read.faults)
    rows: list[EvaluationRow] = []
    for line in map(_as_chat, read.lines):
        wrong = list(_faults(line))
        faults += wrong
        if not wrong:
            rows.extend(_rows(line))
    if faults:
        raise DataError((str(file), faults))
    return EvaluationSet(file.name, f"sha256:{read.digest}", tuple(rows[:most]), max(0, len(rows) - most))


def _as_chat(line: Line) -> Line:
    """An instruction or a pair as the chat that training makes of it; other rows, and what is faulty, as they are."""
    row = with_tools(line.row)
    if format_of(row) == PAIR:
        return _of_pair(line)
    given, right = row.get("input") or "", row.get("output")
    if "messages" in row or not all(isinstance(text, str) for text in (row.get("instruction"), given, right or "")):
        return Line(line.number, row)
    asked = f"{row['instruction']}\n\n{given}" if given.strip() else row["instruction"]
    messages = [{"role": "user", "content": asked}, *([{"role": "assistant", "content": right}] if right else [])]
    others = {key: value for key, value in row.items() if key not in ("instruction", "input", "output")}
    return Line(line.number, {**others, "messages": messages})


def _of_pair(line: Line) -> Line:
    pair = parse(line.number, line.row, PAIR, others=True).preference
    if pair is None:
        return line
    others = {key: value for key, value in line.row.items() if key not in KEYS[PAIR]}
    chat: dict[str, Any] = {"messages": [message_row(turn) for turn in (*pair.prompt, pair.chosen)]}
    return Line(line.number, {**others, **chat, "tools": json.loads(pair.tools) if pair.tools else []})


def text_of(content: Any) -> str:
    """The text of a message's content, whose parts may be a list."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _faults(line: Line) -> Iterator[Fault]:
    row = line.row
    if format_of(row) == PAIR:
        yield from parse(line.number, row, PAIR, others=True).faults
        return
    if "messages" in row:
        yield from _message_faults(line)
        return
    if "prompt" not in row:
        text = "neither 'messages' nor 'prompt' nor 'instruction'; write a chat, a completion or an instruction row"
        yield Fault(line.number, "missing_messages_list", text)
    for key in ("prompt", "completion"):
        if key not in row:
            continue
        if not isinstance(row[key], str) or not row[key].strip():
            text = f"{key!r} is {kind(row[key]) if row[key] else 'empty'}; it must be a text"
            yield Fault(line.number, "data_type", text)
        elif fault := text_fault(line.number, repr(key), row[key]):
            yield fault


def _message_faults(line: Line) -> Iterator[Fault]:
    messages = line.row["messages"]
    tools = line.row.get("tools") or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        yield Fault(line.number, "data_type", f"'tools' is {kind(tools)}; it must be a list of functions")
    if not isinstance(messages, list) or not 0 < len(messages) <= MAX_MESSAGES:
        text = f"'messages' must be a list of 1 to {MAX_MESSAGES} messages"
        yield Fault(line.number, "missing_messages_list", text)
        return
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            yield Fault(line.number, "data_type", f"messages[{index}] must be an object with 'role' and 'content'")
            return
        if message["role"] == "assistant" and is_learnt(message) and not text_of(message.get("content")).strip():
            text = f"messages[{index}] is an answer without text; a call of a tool cannot be scored: give it weight 0"
            yield Fault(line.number, "missing_content", text)
    if messages[0]["role"] == "assistant":
        yield Fault(line.number, "missing_prompt", "an answer comes before any user message; begin with a user turn")
    elif messages[-1]["role"] == "assistant" and not any(map(is_learnt, messages)):
        yield Fault(
            line.number, "example_missing_assistant_message", f"no answer with weight 1 of {shown(len(messages))} turns"
        )


def _rows(line: Line) -> list[EvaluationRow]:
    fields = {
        key: str(value)[:MAX_FIELD_CHARACTERS]
        for key, value in line.row.items()
        if key not in OWN_FIELDS and isinstance(value, str | int | float | bool)
    }
    unit = hashlib.sha256(json.dumps(_opening(line.row), sort_keys=True).encode()).hexdigest()[:16]
    tools = tuple(line.row.get("tools") or ())
    return [
        EvaluationRow(line.number, unit, prompt, reference, fields, tools) for prompt, reference in _questions(line.row)
    ]


def _opening(row: dict[str, Any]) -> Any:
    """All up to the first turn of a user."""
    if "messages" not in row:
        return row["prompt"]
    roles = [message["role"] for message in row["messages"]]
    return row["messages"][: roles.index("user") + 1 if "user" in roles else 1]


def _questions(row: dict[str, Any]) -> Iterator[tuple[Prompt, str | None]]:
    if "messages" not in row:
        yield row["prompt"], row.get("completion")
        return
    messages = row["messages"]
    turns = tuple({key: value for key, value in message.items() if key != "weight"} for message in messages)
    for index, message in enumerate(messages):
        if is_learnt(message):
            yield turns[:index], text_of(message["content"])
    if messages[-1]["role"] != "assistant":
        yield turns, None
