"""What a serving engine makes of prompts, by its `/tokenize` (vLLM): to compare a training's rendering with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from trainer.data.rows import Example, Message
from trainer.errors import TrainingRefused
from trainer.methods.receipt import AskEngine

TIMEOUT_S = 20.0
KEY_VARIABLE = "SWITCHYARD_ENGINE_API_KEY"
"""The environment variable with the key of the engines, as the gateway has it."""


@contextmanager
def engine_at(url: str) -> Iterator[AskEngine]:
    """Ask the engine at this address. What is inside raises TrainingRefused when it does not answer as vLLM does."""
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, timeout=TIMEOUT_S, headers=headers) as http:
        model = _answer(http, url, "GET", "/v1/models")["data"][0]["id"]

        def ask(example: Example) -> tuple[int, ...]:
            found = _answer(http, url, "POST", "/tokenize", {"model": model, **_question(example)})
            return tuple(int(token) for token in found["tokens"])

        yield ask


def _question(example: Example) -> dict[str, Any]:
    if isinstance(example.prompt, str):
        return {"prompt": example.prompt, "add_special_tokens": True}
    offered = {"tools": json.loads(example.tools)} if example.tools else {}
    return {"messages": [_sent(turn) for turn in example.prompt], "add_generation_prompt": True, **offered}


def _sent(turn: Message) -> dict[str, Any]:
    """A turn as clients send it."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in turn.tool_calls
    ]
    named = {"tool_calls": calls or None, "tool_call_id": turn.tool_call_id, "name": turn.name}
    return {"role": turn.role, "content": turn.content} | {key: value for key, value in named.items() if value}


def _answer(http: httpx.Client, url: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    remedy = "give the address of a vLLM that serves the base, or leave it out"
    try:
        answer = http.request(method, path, json=body)
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise TrainingRefused(f"the engine at {url} does not answer {path} ({why}); {remedy}") from error
    if answer.status_code != 200 or not isinstance(found, dict):
        raise TrainingRefused(f"the engine at {url} answers {path} with HTTP {answer.status_code}; {remedy}")
    return found
