"""Read a JSONL data file, and collect everything that is wrong with it before giving up.

Chat rows are OpenAI's: `{"messages": [{"role", "content", "weight"?}, ...]}`; completion rows are
`{"prompt", "completion"}`. The codes of chat faults are those of OpenAI's data preparation cookbook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.data.faults import DataError, Fault
from trainer.data.lines import kind, read_lines, shown, text_fault
from trainer.data.rows import Example, Message

Format = Literal["chat", "completion"]
ROLES = ("system", "user", "assistant")
MESSAGE_KEYS = {"role", "content", "weight"}
MAX_MESSAGES = 1_000
Check = Callable[[Example], Iterable[Fault]]
"""What is wrong with an example that could be read."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data file that has been read. `digest` is the sha256 (hex) of its bytes, `rows` the number of lines used."""

    file: Path
    digest: str
    rows: int
    examples: tuple[Example, ...]


def read_data(file: Path, format: Format, *checks: Check) -> Dataset:
    """Read and check every line; DataError lists all faults with their 1-based lines, those of `checks` among them."""
    read = read_lines(file)
    examples: list[Example] = []
    faults = dict.fromkeys(read.faults)  # the turns of one conversation are in several examples
    for line in read.lines:
        found, wrong = _chat(line.number, line.row) if format == "chat" else _completion(line.number, line.row)
        examples.extend(found)
        faults |= dict.fromkeys(wrong)
        faults |= dict.fromkeys(fault for example in found for check in checks for fault in check(example))
    if faults:
        raise DataError((str(file), faults))
    return Dataset(file, read.digest, read.rows, tuple(examples))


def _completion(number: int, row: dict[str, Any]) -> tuple[list[Example], list[Fault]]:
    faults = [
        Fault(
            number, "unrecognized_key", f"unknown key {shown(key)}; a completion row has only 'prompt' and 'completion'"
        )
        for key in sorted(row.keys() - {"prompt", "completion"})
    ]
    for key in ("prompt", "completion"):
        if key not in row:
            faults.append(Fault(number, f"missing_{key}", f"key {key!r} is missing; add it"))
        elif not isinstance(row[key], str):
            faults.append(Fault(number, "data_type", f"{key!r} is {kind(row[key])}; it must be a string"))
        else:
            faults.extend(_content_faults(number, repr(key), row[key]))
    return ([] if faults else [Example(number, row["prompt"], row["completion"])]), faults


def _chat(number: int, row: dict[str, Any]) -> tuple[list[Example], list[Fault]]:
    faults = [
        Fault(number, "unrecognized_key", f"unknown key {shown(key)}; a chat row has only 'messages'")
        for key in sorted(row.keys() - {"messages"})
    ]
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        faults.append(Fault(number, "missing_messages_list", "'messages' must be a list with at least one message"))
        return [], faults
    if len(messages) > MAX_MESSAGES:
        text = f"{len(messages)} messages, and {MAX_MESSAGES} is the most; split the conversation"
        return [], [*faults, Fault(number, "too_many_messages", text)]
    for index, message in enumerate(messages):
        faults.extend(_message_faults(number, index, message))
    if faults:
        return [], faults
    turns = tuple(Message(message["role"], message["content"]) for message in messages)
    if turns[0].role == "assistant" or (turns[0].role == "system" and turns[1:2] and turns[1].role == "assistant"):
        return [], [Fault(number, "missing_prompt", "an answer comes before any user message; begin with a user turn")]
    examples = [
        Example(number, turns[:index], turn.content)
        for index, turn in enumerate(turns)
        if turn.role == "assistant" and messages[index].get("weight", 1) == 1
    ]
    if not examples:
        text = "no assistant message with weight 1, so nothing would be learnt; add the answer"
        return [], [Fault(number, "example_missing_assistant_message", text)]
    return examples, []


def _message_faults(number: int, index: int, message: Any) -> list[Fault]:
    where = f"messages[{index}]"
    if not isinstance(message, dict):
        return [Fault(number, "data_type", f"{where} is {kind(message)}; it must be an object")]
    faults = [
        Fault(number, "message_unrecognized_key", f"{where} has the unknown key {shown(key)}; remove it")
        for key in sorted(message.keys() - MESSAGE_KEYS)
    ]
    faults.extend(
        Fault(number, "message_missing_key", f"{where} lacks {key!r}; add it")
        for key in ("role", "content")
        if key not in message
    )
    if "role" in message and message["role"] not in ROLES:
        text = f"{where}.role is {shown(message['role'])}; use {', '.join(ROLES)}"
        faults.append(Fault(number, "unrecognized_role", text))
    content = message.get("content", "-")
    if not isinstance(content, str):
        faults.append(Fault(number, "data_type", f"{where}.content is {kind(content)}; it must be a string"))
    else:
        faults.extend(_content_faults(number, f"{where}.content", content))
    if isinstance(message.get("weight"), bool) or message.get("weight", 1) not in (0, 1):
        faults.append(Fault(number, "data_type", f"{where}.weight is {shown(message['weight'])}; it must be 0 or 1"))
    return faults


def _content_faults(number: int, where: str, text: str) -> list[Fault]:
    if not text.strip():
        return [Fault(number, "missing_content", f"{where} is empty; write its text or remove the row")]
    fault = text_fault(number, where, text)
    return [fault] if fault else []
