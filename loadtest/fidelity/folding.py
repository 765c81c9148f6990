"""A stream of events as one document, so that two of them can be compared however their tokens were cut into events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
JOINED = frozenset({"content", "reasoning", "reasoning_content", "refusal", "text", "arguments"})
"""Texts that come in pieces."""
LATEST = frozenset({"usage"})
"""What each event has whole."""
SAME_IN_ALL = ("id", "object", "created", "model")
DONE = "[DONE]"


def fold_chunks(events: Sequence[Json | str]) -> Json:
    """Chat's or completions' chunks as one document.

    Beside what they say it has: `ends`, the last event where that is a word; `usage_in`, which events had a count;
    `changed`, fields that must be the same in every event and were not; `opened`, how often each choice named a role.
    """
    chunks = [event for event in events if isinstance(event, dict)]
    whole: Json = {}
    for chunk in chunks:
        _take_in(whole, chunk)
    last = events[-1] if events else None
    whole["ends"] = last if isinstance(last, str) else None
    whole["usage_in"] = _usage_in(chunks)
    whole["changed"] = [name for name in SAME_IN_ALL if len({str(chunk.get(name)) for chunk in chunks}) > 1]
    whole["opened"] = _opened(chunks)
    return whole


def _take_in(whole: Json, piece: Json) -> None:
    for name, value in piece.items():
        before = whole.get(name)
        if value is None or before is None or name in LATEST:
            if value is not None or name not in whole:
                whole[name] = _copied(value)
        elif name in JOINED and isinstance(value, str):
            whole[name] = before + value
        elif isinstance(value, dict):
            _take_in(before, value)
        elif isinstance(value, list):
            whole[name] = _with(before, value)
        else:
            whole[name] = value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return _with([], value) if isinstance(value, list) else value


def _with(before: list[Any], more: list[Any]) -> list[Any]:
    """Items that have an index come to the one of theirs; others follow. Sorted by index, if there is one."""
    by_index = {item["index"]: item for item in before if _is_indexed(item)}
    whole = list(before)
    for item in more:
        if _is_indexed(item) and item["index"] in by_index:
            _take_in(by_index[item["index"]], item)
        else:
            whole.append(copied := _copied(item))
            if _is_indexed(item):
                by_index[item["index"]] = copied
    return sorted(whole, key=lambda item: int(item["index"])) if by_index else whole


def _is_indexed(item: Any) -> bool:
    return isinstance(item, dict) and type(item.get("index")) is int


def _usage_in(chunks: Sequence[Json]) -> str:
    counted = [chunk.get("usage") is not None for chunk in chunks]
    if not any(counted):
        return "no event"
    if all(counted):
        return "every event"
    return "the last event" if counted[-1] and sum(counted) == 1 else "some events"


def _opened(chunks: Sequence[Json]) -> dict[str, int]:
    opened: dict[str, int] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if "role" in (choice.get("delta") or {}):
                opened[str(choice["index"])] = opened.get(str(choice["index"]), 0) + 1
    return dict(sorted(opened.items()))
