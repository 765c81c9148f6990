"""Items of an input as they are kept and listed for clients; and where a kept item is, by its id."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count

from gateway.api.request_ids import new_id
from gateway.keeping import Item

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
"""Of ids, by the types of items."""


REFERENCE = "item_reference"
_OF_A_RESPONSE = re.compile(r"[a-z]+_([0-9a-f]{32})i?[0-9a-f]{1,8}")
"""Ids of a response's items: the request's, and their number in its output, or behind `i` in its input."""


def response_of(item_id: str) -> str:
    """The id of the response that has the item; empty when none can."""
    found = _OF_A_RESPONSE.fullmatch(item_id)
    return "" if found is None else f"resp_{found[1]}"


def kept_items(items: Sequence[Item], request_id: str) -> list[Item]:
    """The checked items of a response's input, each with an id."""
    return [*map(_kept, items, map(f"{request_id}i{{:x}}".format, count()))]


def kept_alone(item: Item) -> Item:
    """A checked item that is of no response."""
    return _kept(item, new_id())


def _kept(item: Item, name: str) -> Item:
    """With an id, unless it has one, and its text in a part."""
    kind = item["type"]
    kept = {"id": f"{_PREFIXES[kind]}_{name}", "status": "completed", **item}
    if isinstance(kept.get("content"), str):
        part = "output_text" if kept["role"] == "assistant" else "input_text"
        kept["content"] = [{"type": part, "text": kept["content"]}]
    return kept
