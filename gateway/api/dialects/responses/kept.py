"""Items of an input as they are kept, and listed for clients."""

from __future__ import annotations

from gateway.api.request_ids import new_id
from gateway.keeping import Item

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
"""Of ids, by the types of items."""


def kept_item(item: Item) -> Item:
    """A checked item with an id, and its text in a part."""
    kind = item["type"]
    kept = {"id": f"{_PREFIXES[kind]}_{new_id()}", "status": "completed", **item}
    if isinstance(kept.get("content"), str):
        part = "output_text" if kept["role"] == "assistant" else "input_text"
        kept["content"] = [{"type": part, "text": kept["content"]}]
    return kept
