"""Rows written in another form, where nothing of them would be lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from trainer.data.faults import DataError, Fault
from trainer.data.formats import ORIGIN
from trainer.data.overlap import Row, rows_of
from trainer.data.read import Dataset
from trainer.data.rows import Message, Origin, Preference

Target = Literal["chat", "completion", "instruction", "preference", "openai-preference"]
TARGETS: tuple[Target, ...] = get_args(Target)
JsonRow = dict[str, Any]


def converted(data: Dataset, target: Target) -> list[JsonRow]:
    """Every row in that form. DataError names the rows that have none in it.

    A preference becomes a chat, a completion or an instruction with its chosen answer.
    """
    pairs = {pair.line: pair for pair in data.preferences}
    rows: list[JsonRow] = []
    faults: list[Fault] = []
    for row in rows_of(data.examples):
        written = WRITERS[target](row, pairs.get(row.line))
        if isinstance(written, str):
            faults.append(Fault(row.line, "cannot_convert", f"has no form {target}: {written}"))
        else:
            rows.append(written | _origin(data.origins.get(row.line)))
    if faults:
        raise DataError((str(data.file), faults))
    return rows


def write_rows(rows: Iterable[JsonRow], file: Path) -> int:
    """JSONL; gives back how many. Raises DataError when the file is there already, or cannot be written."""
    count = 0
    try:
        with file.open("x", encoding="utf-8", newline="\n") as stream:
            for row in rows:
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
    except OSError as failed:
        text = f"cannot be written ({failed.strerror}); give the name of a new file in a folder that is there"
        raise DataError((str(file), [Fault(1, "unwritable", text)])) from failed
    return count


def new_files(folder: Path, *names: str) -> list[Path]:
    """Files that are to be written into a folder, which is made where it is not there: all of them, or none. Raises
    DataError when the folder cannot be made, or one of them is there already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        text = f"is no folder, and cannot be made one ({failed.strerror}); name another"
        raise DataError((str(folder), [Fault(1, "unwritable", text)])) from failed
    found = [folder / name for name in names]
    there = [file for file in found if file.exists()]
    if there:
        text = "is there already; remove it, or give another folder"
        raise DataError(*((str(file), [Fault(1, "unwritable", text)]) for file in there))
    return found


def message_row(turn: Message) -> JsonRow:
    """A turn as OpenAI writes it."""
    written: JsonRow = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.tool_calls
        ]
    named = {"tool_call_id": turn.tool_call_id, "name": turn.name}
    return written | {key: value for key, value in named.items() if value is not None}


def _chat(row: Row, _: Preference | None) -> JsonRow:
    last = row.examples[-1]
    prompt = (Message("user", last.prompt),) if isinstance(last.prompt, str) else last.prompt
    trained = {len(example.prompt) for example in row.examples}
    messages = [message_row(turn) for turn in (*prompt, last.answer)]
    for place, message in enumerate(messages[:-1]):
        if message["role"] == "assistant" and place not in trained:
            message["weight"] = 0
    return {"messages": messages} | ({"tools": json.loads(last.tools)} if last.tools else {})


def _completion(row: Row, _: Preference | None) -> JsonRow | str:
    found = _question(row)
    return found if isinstance(found, str) else {"prompt": found[0], "completion": found[1]}


def _instruction(row: Row, _: Preference | None) -> JsonRow | str:
    found = _question(row)
    return found if isinstance(found, str) else {"instruction": found[0], "input": "", "output": found[1]}


def _question(row: Row) -> tuple[str, str] | str:
    """One question and one answer; or why there is none."""
    last = row.examples[-1]
    if last.tools or last.tool_calls:
        return "it has tools"
    if isinstance(last.prompt, str):
        return last.prompt, last.completion
    if len(last.prompt) != 1 or last.prompt[0].role != "user":
        return "it has more than one question and one answer"
    return last.prompt[0].content, last.completion


def _preference(_: Row, pair: Preference | None) -> JsonRow | str:
    if pair is None:
        return "it has one answer, and a preference needs two"
    if pair.tools or pair.chosen.tool_calls or pair.rejected.tool_calls:
        return "it has tools; write it as openai-preference"
    plain = len(pair.prompt) == 1 and pair.prompt[0].role == "user"
    prompt = pair.prompt[0].content if plain else [message_row(turn) for turn in pair.prompt]
    return {"prompt": prompt, "chosen": pair.chosen.content, "rejected": pair.rejected.content}


def _openai_preference(_: Row, pair: Preference | None) -> JsonRow | str:
    if pair is None:
        return "it has one answer, and a preference needs two"
    asked: JsonRow = {"messages": [message_row(turn) for turn in pair.prompt]}
    return {
        "input": asked | ({"tools": json.loads(pair.tools)} if pair.tools else {}),
        "preferred_output": [message_row(pair.chosen)],
        "non_preferred_output": [message_row(pair.rejected)],
    }


def _origin(origin: Origin | None) -> JsonRow:
    if origin is None:
        return {}
    known = {key: value for key, value in _known(origin) if value}
    return {ORIGIN: known | origin.extra}


def _known(origin: Origin) -> Iterator[tuple[str, str]]:
    yield from (("kind", origin.kind), ("model", origin.model), ("of", origin.of))


WRITERS: dict[Target, Callable[[Row, Preference | None], JsonRow | str]] = {
    "chat": _chat,
    "completion": _completion,
    "instruction": _instruction,
    "preference": _preference,
    "openai-preference": _openai_preference,
}
