"""Items and fields of a response as a chat has them.

What the model is asked is what vLLM's own endpoint asks of it: thoughts and calls join the message of the assistant
that they stand behind, and a last message that its model did not end goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.api.dialects.responses.input import UNFINISHED
from gateway.api.dialects.responses.kept import REFERENCE
from gateway.api.dialects.responses.options import LOGPROBS
from gateway.keeping import Item

TRANSLATED = frozenset(
    {
        *("input", "instructions", "max_output_tokens", "text", "tools", "tool_choice", "reasoning"),
        *("include", "top_logprobs", "truncation", "stream", "stream_options"),
    }
)
"""Fields that chats have in another shape; the others are a chat's as they are."""


def chat_of(given: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """The chat that a checked body stands for, without earlier turns."""
    chat = {**body}
    for name in TRANSLATED.intersection(body):
        del chat[name]
    chat["messages"] = messages_of(given.get("instructions"), body["input"])
    last = body["input"][-1]
    if last.get("role") == "assistant" and last.get("status") in UNFINISHED and last["content"]:
        chat["continue_final_message"] = True  # its model did not end it
    if "max_output_tokens" in body:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if "text" in body and (wanted := _format(body["text"])) is not None:
        chat["response_format"] = wanted
    if "tools" in body:
        chat["tools"] = [_tool(tool) for tool in body["tools"]]
    if "tool_choice" in body:
        _choose(chat, body["tool_choice"])
    if "effort" in body.get("reasoning", ()):
        chat["reasoning_effort"] = body["reasoning"]["effort"]
    if LOGPROBS in body.get("include", ()):
        chat |= {"logprobs": True, "top_logprobs": body.get("top_logprobs", 0)}
    if body.get("truncation") == "auto":
        chat.setdefault("truncate_prompt_tokens", -1)
    return chat


def messages_of(instructions: str | None, items: Iterable[Item]) -> list[dict[str, Any]]:
    """The messages of a chat that these items are. One that is only referred to has yet to be read."""
    messages: list[dict[str, Any]] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    for item in items:
        if item["type"] != REFERENCE:
            _ADD[item["type"]](messages, item)
    for message in messages:
        if "content" not in message and "tool_calls" not in message:  # of one that was only thinking
            message["content"] = ""
    return messages


def _message(messages: list[dict[str, Any]], item: Item) -> None:
    role, content = item["role"], item["content"]
    if type(content) is not str:
        content = _content(content)
    if role == "assistant" and (said := _last_answer(messages)) is not None and "content" not in said:
        said["content"] = content
    else:
        messages.append({"role": role, "content": content})


_OF_PARTS = frozenset({"type", "text", "refusal"})


def _content(content: str | list[dict[str, Any]]) -> Any:
    if isinstance(content, str):
        return content
    if len(content) == 1 and content[0]["type"] == "output_text":
        return content[0]["text"]
    return [
        part if part["type"] == "refusal" else {"type": "text", "text": part["text"]}
        for part in ({key: value for key, value in one.items() if key in _OF_PARTS} for one in content)
    ]


def _last_answer(messages: list[dict[str, Any]]) -> dict[str, Any] | None:
    return messages[-1] if messages and messages[-1]["role"] == "assistant" else None


def _call(messages: list[dict[str, Any]], item: Item) -> None:
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    said = _last_answer(messages)
    if said is None:
        said = {"role": "assistant"}
        messages.append(said)
    said.setdefault("tool_calls", []).append(call)


def _result(messages: list[dict[str, Any]], item: Item) -> None:
    messages.append({"role": "tool", "content": _content(item["output"]), "tool_call_id": item["call_id"]})


def _reasoning(messages: list[dict[str, Any]], item: Item) -> None:
    thought = "\n".join(part["text"] for part in item.get("content") or item["summary"])
    said = _last_answer(messages)
    if said is None or "reasoning" in said:
        said = {"role": "assistant"}
        messages.append(said)
    said["reasoning"] = thought


_ADD = {"message": _message, "function_call": _call, "function_call_output": _result, "reasoning": _reasoning}


def _format(wanted: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A text is what engines make unasked."""
    found = (wanted or {}).get("format")
    if found is None or found["type"] == "text":
        return None
    if found["type"] == "json_object":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {key: value for key, value in found.items() if key != "type"}}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}


def _choose(chat: dict[str, Any], choice: Any) -> None:
    """Which tools may be called, or must be: engines are not told of others than those that are allowed."""
    if isinstance(choice, str):
        chat["tool_choice"] = choice
    elif choice["type"] == "function":
        chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    else:
        allowed = {tool["name"] for tool in choice["tools"]}
        chat["tools"] = [tool for tool in chat.get("tools", ()) if tool["function"]["name"] in allowed]
        chat["tool_choice"] = choice["mode"]
