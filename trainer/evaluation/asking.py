"""Questions to the gateway, as any client asks them: what is measured is what is served, in the serving precision."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from trainer.errors import EvaluationError
from trainer.evaluation.rows import EvaluationRow

TIMEOUT_S = 600.0
MAX_TRIES = 6
"""Of a question that is turned away for now: a limit is reached, or an adapter is still being loaded."""
LONGEST_PAUSE_S = 20.0
PASSING = (429, 503)
MAX_SHOWN_CHARACTERS = 600
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its text, whether it had ended by itself, and how long it took, in seconds."""

    text: str
    ended: bool
    latency_s: float


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model thinks of a right answer: the sum of its tokens' log-probabilities in nats, and their number."""

    logprob: float
    tokens: int


class NoLikelihood(Exception):
    """The engine does not give log-probabilities of prompts; the message is its own."""


class Asker:
    """One key at one OpenAI-compatible endpoint. Thread-safe."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http = http
        self.url = url

    def answer(self, model: str, row: EvaluationRow, max_tokens: int) -> Reply:
        """Greedy. Raises EvaluationError with the gateway's own words when it does not answer."""
        if not isinstance(row.prompt, str):
            return self._chat(model, _chat(row), max_tokens)
        began = time.perf_counter()
        asked = {"model": model, "prompt": row.prompt, "max_tokens": max_tokens, "temperature": 0}
        choice = self._post("/completions", asked)["choices"][0]
        return Reply(choice["text"] or "", choice["finish_reason"] != "length", time.perf_counter() - began)

    def chat(self, model: str, messages: Sequence[Message], max_tokens: int) -> Reply:
        """The greedy answer to a conversation. Raises EvaluationError."""
        return self._chat(model, {"messages": list(messages)}, max_tokens)

    def _chat(self, model: str, asked: Mapping[str, Any], max_tokens: int) -> Reply:
        began = time.perf_counter()
        whole = {"model": model, "max_tokens": max_tokens, "temperature": 0, **asked}
        choice = self._post("/chat/completions", whole)["choices"][0]
        text = choice["message"]["content"] or ""
        return Reply(text, choice["finish_reason"] != "length", time.perf_counter() - began)

    def likelihood(self, model: str, row: EvaluationRow, reference: str) -> Likelihood:
        """Of `reference` after the row's prompt; the token that ends an answer does not count. Raises NoLikelihood.

        The prompt's ids are the engine's own rendering, the reference's are those of its text alone: what training
        puts one behind the other too.
        """
        before = self.tokens(model, row)
        answer = self._ids({"model": model, "prompt": reference, "add_special_tokens": False})
        asked = {"model": model, "prompt": [*before, *answer], "echo": True, "max_tokens": 1, "logprobs": 1}
        document = self._post("/completions", {**asked, "temperature": 0}, scores=True)
        found = document["choices"][0]["logprobs"]["token_logprobs"][len(before) : len(before) + len(answer)]
        return Likelihood(sum(found), len(found))

    def tokens(self, model: str, row: EvaluationRow) -> list[int]:
        """The ids of a prompt as the engine reads it: a conversation up to where its answer begins."""
        if isinstance(row.prompt, str):
            return self._ids({"model": model, "prompt": row.prompt})
        return self._ids({"model": model, **_chat(row), "add_generation_prompt": True})

    def count(self, model: str, text: str) -> int:
        """Tokens of a text."""
        return len(self._ids({"model": model, "prompt": text, "add_special_tokens": False}))

    def _ids(self, asked: Mapping[str, Any]) -> list[int]:
        found: list[int] = self._post("/tokenize", asked)["tokens"]
        return found

    def _post(self, path: str, body: Mapping[str, Any], *, scores: bool = False) -> Any:
        answer = self._patiently(path, body)
        if answer.is_success:
            try:
                return answer.json()
            except ValueError as failed:
                raise EvaluationError(f"{self.url} answers with what is no JSON; is it a gateway?") from failed
        message, code = _error_in(answer)
        if scores and code == "unsupported_by_engine":
            raise NoLikelihood(message)
        raise EvaluationError(f"{body['model']} does not answer (HTTP {answer.status_code}): {message}")

    def _patiently(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        for turn in range(1, MAX_TRIES + 1):
            try:
                answer = self._http.post(f"{self.url}{path}", json=body)
            except httpx.HTTPError as failed:
                raise EvaluationError(
                    f"nothing answers at {self.url} ({failed or type(failed).__name__}); start a gateway, "
                    "or say with --url where it is"
                ) from failed
            passing = answer.status_code in PASSING and answer.headers.get("x-should-retry") != "false"
            if not passing or turn == MAX_TRIES:
                return answer
            time.sleep(_pause_s(answer, turn))
        raise AssertionError("unreachable")


def _chat(row: EvaluationRow) -> dict[str, Any]:
    return {"messages": list(row.prompt), **({"tools": list(row.tools)} if row.tools else {})}


def _pause_s(answer: httpx.Response, turn: int) -> float:
    try:
        wanted = float(answer.headers.get("retry-after", ""))
    except ValueError:
        wanted = 2.0**turn / 4
    return min(max(wanted, 0.0), LONGEST_PAUSE_S)


def _error_in(answer: httpx.Response) -> tuple[str, str | None]:
    try:
        error = answer.json()["error"]
        return str(error["message"])[:MAX_SHOWN_CHARACTERS], error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer.text[:MAX_SHOWN_CHARACTERS] or "it says nothing", None


@contextmanager
def asker(url: str, key: str) -> Iterator[Asker]:
    """One that asks at `url`, with or without its `/v1`, with a key of the tenant."""
    whole = url.rstrip("/")
    whole = whole if whole.endswith("/v1") else f"{whole}/v1"
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False) as http:  # the key is for no proxy
        yield Asker(http, whole)
