"""Questions to the gateway, as any client asks them: what is measured is what is served, in the serving precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trainer.endpoints.client import Client, Manner, Message, Reply, client_of
from trainer.endpoints.endpoint import Endpoint
from trainer.errors import EndpointError
from trainer.evaluation.rows import EvaluationRow


@dataclass(frozen=True, slots=True)
class Likelihood:
    """What a model thinks of a right answer: the sum of its tokens' log-probabilities in nats, and their number."""

    logprob: float
    tokens: int


class NoLikelihood(Exception):
    """The engine does not give log-probabilities of prompts; the message is its own."""


class Asker:
    """Asks rows, greedily. Thread-safe. Every method raises EndpointError with the endpoint's own words."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def answer(self, model: str, row: EvaluationRow, max_tokens: int) -> Reply:
        """To a row's prompt."""
        if isinstance(row.prompt, str):
            asked = {"model": model, "prompt": row.prompt, "max_tokens": max_tokens, "temperature": 0}
            return self.client.ask("/completions", asked)
        return self.client.chat(model, row.prompt, Manner(max_tokens), row.tools)

    def chat(self, model: str, messages: Sequence[Message], max_tokens: int) -> Reply:
        """To a conversation."""
        return self.client.chat(model, messages, Manner(max_tokens))

    def likelihood(self, model: str, row: EvaluationRow, reference: str) -> Likelihood:
        """Of `reference` after the row's prompt; the token that ends an answer does not count. Raises NoLikelihood.

        The prompt's ids are the engine's own rendering, the reference's are those of its text alone: what training
        puts one behind the other too.
        """
        before = self.tokens(model, row)
        answer = self._ids({"model": model, "prompt": reference, "add_special_tokens": False})
        asked = {"model": model, "prompt": [*before, *answer], "echo": True, "max_tokens": 1, "logprobs": 1}
        try:
            document = self.client.post("/completions", {**asked, "temperature": 0})
        except EndpointError as error:
            if error.code == "unsupported_by_engine":
                raise NoLikelihood(error.said) from error
            raise
        found = document["choices"][0]["logprobs"]["token_logprobs"][len(before) : len(before) + len(answer)]
        return Likelihood(sum(found), len(found))

    def tokens(self, model: str, row: EvaluationRow) -> list[int]:
        """The ids of a prompt as the engine reads it: a conversation up to where its answer begins."""
        if isinstance(row.prompt, str):
            return self._ids({"model": model, "prompt": row.prompt})
        tools = {"tools": list(row.tools)} if row.tools else {}
        return self._ids({"model": model, "messages": list(row.prompt), **tools, "add_generation_prompt": True})

    def count(self, model: str, text: str) -> int:
        """Tokens of a text."""
        return len(self._ids({"model": model, "prompt": text, "add_special_tokens": False}))

    def _ids(self, asked: Mapping[str, Any]) -> list[int]:
        found: list[int] = self.client.post("/tokenize", asked)["tokens"]
        return found


@contextmanager
def asker(endpoint: Endpoint) -> Iterator[Asker]:
    """One that asks at this endpoint, until the end of the block."""
    with client_of(endpoint) as client:
        yield Asker(client)
