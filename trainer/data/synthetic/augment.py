"""Which rows can be asked in other words, and how such a row is written."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from trainer.data.lines import Line
from trainer.data.overlap import rows_of
from trainer.data.read import Dataset
from trainer.data.synthetic.generate import Source


def sources(data: Dataset, lines: tuple[Line, ...]) -> Iterator[Source]:
    """The rows of one question in the words of a person; `lines` are the file's. Rows of models are left out."""
    given = {line.number: line.row for line in lines}
    for row in rows_of(data.examples):
        written = given[row.line]
        place = _place(written, data.format)
        if place is None or len(row.examples) != 1 or row.line in data.origins:
            continue
        yield Source(row.prompts[-1].hex(), _at(written, place), _writer(written, place))


Place = tuple[str | int, ...]


def _place(row: dict[str, Any], form: str) -> Place | None:
    """Where the only question of a row stands."""
    if form == "instruction":
        return ("instruction",)
    if form in ("completion", "preference") and isinstance(row.get("prompt"), str):
        return ("prompt",)
    if form != "chat":
        return None
    asked = [at for at, message in enumerate(row["messages"]) if message["role"] == "user"]
    plain = len(asked) == 1 and isinstance(row["messages"][asked[0]]["content"], str)
    return ("messages", asked[0], "content") if plain else None


def _at(row: Any, place: Place) -> str:
    for step in place:
        row = row[step]
    return str(row)


def _writer(row: dict[str, Any], place: Place) -> Any:
    def write(question: str) -> dict[str, Any]:
        changed: dict[str, Any] = copy.deepcopy(row)
        inner: Any = changed
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = question
        return changed

    return write
