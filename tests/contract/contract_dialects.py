"""What holds in every dialect in which a model writes, as tests over a fixture `served` (a `Served`).

`tests/gateway/test_dialect_contract.py` collects them on mock engines, `tests/live/test_live_dialects.py` on a real
vLLM, where each answer takes up to a second: they ask for few tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

TEXT = "My parcel is late."
TURNS = [{"role": "user", "content": TEXT}]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spoken:
    """How one dialect says what all of them say."""

    path: str
    asked: Mapping[str, Any]
    bound: str
    """The field that bounds the answer."""
    text: Callable[[Json], str]
    used: tuple[str, ...]
    """The tokens of the prompt in its usage: one field, or several that are added up; the last is the answer's."""
    piece: Callable[[Json], str]
    """The text in an event of a stream."""


def _piece(of: str) -> Callable[[Json], str]:
    return lambda event: str(event["delta"]["text"] if of == "messages" else event["delta"]) if _adds(event, of) else ""


def _adds(event: Json, of: str) -> bool:
    return bool(event.get("type") == ("content_block_delta" if of == "messages" else "response.output_text.delta"))


DIALECTS: Mapping[str, Spoken] = {
    "chat": Spoken(
        "/v1/chat/completions",
        {"messages": TURNS},
        "max_tokens",
        lambda answer: answer["choices"][0]["message"]["content"],
        ("prompt_tokens", "completion_tokens"),
        lambda event: event["choices"][0]["delta"].get("content") or "",
    ),
    "completions": Spoken(
        "/v1/completions",
        {"prompt": TEXT},
        "max_tokens",
        lambda answer: answer["choices"][0]["text"],
        ("prompt_tokens", "completion_tokens"),
        lambda event: event["choices"][0]["text"],
    ),
    "responses": Spoken(
        "/v1/responses",
        {"input": TEXT, "store": False},
        "max_output_tokens",
        lambda answer: answer["output"][0]["content"][0]["text"],
        ("input_tokens", "output_tokens"),
        _piece("responses"),
    ),
    "messages": Spoken(
        "/v1/messages",
        {"messages": TURNS},
        "max_tokens",
        lambda answer: answer["content"][0]["text"],
        ("input_tokens", "cache_read_input_tokens", "output_tokens"),
        _piece("messages"),
    ),
}
each_dialect = pytest.mark.parametrize("name", DIALECTS)


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway, and a tenant `acme` with a model `triage` whose production is 1.0."""

    http: httpx.Client
    key: str
    rows: Callable[[str], list[Json]]
    """The usage rows of a request, by its id."""

    def ask(self, name: str, **fields: Any) -> Any:
        """A short answer, or a refusal."""
        spoken = DIALECTS[name]
        body = {"model": "acme/triage", "temperature": 0, spoken.bound: 3, **spoken.asked, **fields}
        return self.http.post(spoken.path, json=body, headers={"Authorization": f"Bearer {self.key}"})


@each_dialect
def test_an_answer_names_its_version_and_says_what_is_booked(served: Served, name: str) -> None:
    spoken, answer = DIALECTS[name], served.ask(name)
    document = answer.json()
    assert (answer.status_code, document["model"]) == (200, "acme/triage@1.0")
    assert answer.headers["x-switchyard-model"] == "acme/triage@1.0"
    (row,) = served.rows(answer.headers["x-request-id"])
    *prompt, written = (document["usage"][field] for field in spoken.used)
    assert (row["endpoint"], row["outcome"], row["usage_source"]) == (name, "ok", "engine")
    assert (sum(prompt), written) == (row["prompt_tokens"], row["completion_tokens"])
    assert written <= 3


@each_dialect
def test_a_stream_says_the_same_and_is_booked_alike(served: Served, name: str) -> None:
    spoken, whole, stream = DIALECTS[name], served.ask(name), served.ask(name, stream=True)
    data = [line.removeprefix("data: ") for line in stream.text.splitlines() if line.startswith("data: {")]
    assert "".join(spoken.piece(json.loads(one)) for one in data) == spoken.text(whole.json())
    assert stream.text.count("acme/triage@1.0") > 0
    (row,) = served.rows(stream.headers["x-request-id"])
    (same,) = served.rows(whole.headers["x-request-id"])
    assert [row[field] for field in ("endpoint", "outcome", "usage_source", "prompt_tokens", "completion_tokens")] == [
        same[field] for field in ("endpoint", "outcome", "usage_source", "prompt_tokens", "completion_tokens")
    ]


@each_dialect
def test_what_no_context_has_room_for_is_refused_by_the_clients_name_of_the_bound(served: Served, name: str) -> None:
    spoken = DIALECTS[name]
    too_many: Json = {spoken.bound: 1_000_000}
    refused = served.ask(name, **too_many)
    assert refused.status_code == 400
    assert f"'{spoken.bound}'" in refused.json()["error"]["message"]
