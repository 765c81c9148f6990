"""One request and its answer, as a document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from loadtest.fidelity.folding import fold

TIMEOUT_S = 300.0
"""For one answer: a real engine on two cores makes some tens of tokens a second."""
PARTS_OF_PROMPT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Counts of a message of Anthropic's that together are its prompt; where a cache cuts it says nothing of the prompt."""


@dataclass(frozen=True, slots=True)
class Target:
    """Who is asked."""

    url: str
    model: str
    key: str | None = None


def ask(http: httpx.Client, target: Target, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    """The answer as a document: `status`, the `type` of its content, and `answer`. Raises `httpx.HTTPError`."""
    keys = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    reply = http.post(
        f"{target.url}{path}", json={"model": target.model, **body}, headers={**keys, **headers}, timeout=TIMEOUT_S
    )
    kind = reply.headers.get("content-type", "").partition(";")[0]
    return {"status": reply.status_code, "type": kind, "answer": _read(kind, reply.text)}


def _read(kind: str, text: str) -> Any:
    if kind == "text/event-stream":
        answer: Any = fold(list(events_of(text)))
    else:
        try:
            answer = json.loads(text)
        except ValueError:
            return text
    if isinstance(answer, dict) and answer.get("type") == "message":
        counts = answer["usage"]
        answer["prompt_tokens"] = sum(counts.get(name) or 0 for name in PARTS_OF_PROMPT)
    return answer


def events_of(text: str) -> Iterator[dict[str, Any] | str]:
    """What the events of a stream carry: JSON, or a word such as `[DONE]`; no comments."""
    for event in text.split("\n\n"):
        data = "\n".join(line[5:].removeprefix(" ") for line in event.split("\n") if line.startswith("data:"))
        if data:
            yield json.loads(data) if data.startswith("{") else data
