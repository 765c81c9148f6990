"""A stream of events as one document, so that two of them can be compared however their tokens were cut into events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
JOINED = frozenset({"content", "reasoning", "reasoning_content", "refusal", "text", "arguments"})
"""Texts that come in pieces."""
LATEST = frozenset({"usage"})
"""What each event has whole."""
SAME_IN_ALL = ("id", "object", "created", "model")
DONE = "[DONE]"


def fold(events: Sequence[Json | str]) -> Json:
    """A stream of any dialect, told by what its first event is called."""
    first = events[0] if events and isinstance(events[0], dict) else {}
    kind = str(first.get("type", ""))
    if kind.startswith("response."):
        return fold_response([event for event in events if isinstance(event, dict)])
    if kind.startswith("message_"):
        return fold_message([event for event in events if isinstance(event, dict)])
    return fold_chunks(events)


def fold_response(events: Sequence[Json]) -> Json:
    """Responses' events as the response of the last one. Beside it: `events`, their names, those of pieces once;
    `said`, what all pieces of each item come to; `numbered`, whether they are counted without a gap.
    """
    said: dict[str, str] = {}
    for event in events:
        if isinstance(event.get("delta"), str):
            place = f"{event['output_index']} {event['type']}"
            said[place] = said.get(place, "") + event["delta"]
    return {
        **next((event["response"] for event in reversed(events) if "response" in event), {}),
        "events": _names(events),
        "said": said,
        "numbered": [event.get("sequence_number") for event in events] == list(range(len(events))),
    }


def fold_message(events: Sequence[Json]) -> Json:
    """Messages' events as the message that they make, and beside it `events`, their names, those of pieces once."""
    message: Json = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = _copied(event["message"])
        elif kind == "content_block_start":
            message["content"].append(_copied(event["content_block"]))
        elif kind == "content_block_delta":
            _add_piece(message["content"][event["index"]], event["delta"])
        elif kind == "message_delta":
            message |= event["delta"]
            message["usage"] = {**message["usage"], **event["usage"]}
        elif kind == "error":
            message["error"] = event["error"]
    for block in message.get("content", ()):
        if isinstance(block.get("input"), str):
            block["input"] = _parsed(block["input"])
    return {**message, "events": _names(events)}


def _add_piece(block: Json, delta: Json) -> None:
    for name, value in delta.items():
        place = "input" if name == "partial_json" else name
        if name != "type":
            before = block.get(place) or ""
            block[place] = before + value if isinstance(value, str) else value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _names(events: Sequence[Json]) -> list[str]:
    names = [str(event.get("type")) for event in events if event.get("type") != "ping"]
    return [name for name, before in zip(names, ["", *names], strict=False) if name != before or "delta" not in name]


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
