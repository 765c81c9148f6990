"""A gateway before a mock engine, with two versions of an adapter and rows that one of them answers rightly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import Stack, open_house, run_stack

WORDS = ("parcel", "invoice", "refund", "login", "delay", "address", "colour", "voucher")
TOKENS = 4


@dataclass(frozen=True)
class Court:
    """A stack whose acme/triage has 1.0 in production and 1.1 beside it. What each answers is known."""

    stack: Stack
    folder: Path

    def says(self, model: str, prompt: str) -> str:
        """What a model answers to a user's message."""
        messages = [{"role": "user", "content": prompt}]
        body = {"model": model, "messages": messages, "max_tokens": TOKENS, "temperature": 0}
        answer = self.stack.post("/v1/chat/completions", body, "acme+base")
        text: str = answer.raise_for_status().json()["choices"][0]["message"]["content"]
        return text

    def rows(self, name: str, right: Sequence[str], **fields: Any) -> Path:
        """A file in which `right[i]` is the model that answers row i rightly."""
        file = self.folder / f"{name}.jsonl"
        with file.open("w") as out:
            for number, model in enumerate(right):
                prompt = f"{name} {number}: my {WORDS[number % len(WORDS)]} is wrong."
                answer = {"role": "assistant", "content": self.says(model, prompt)}
                messages = [{"role": "user", "content": prompt}, answer]
                out.write(json.dumps({"messages": messages, "topic": WORDS[number % 2], **fields}) + "\n")
        return file


@pytest.fixture(scope="package")
def court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    folder = tmp_path_factory.mktemp("court")
    with open_house(folder) as house:
        house.tenant("acme")
        house.tenant("globex")
        house.keys["acme+base"] = house.key("acme", "inference", "base")
        house.publish("acme/triage")
        house.publish("acme/triage")
        house.publish("globex/sentiment")
        house.point("acme/triage", "1.0")
        with run_stack(house, engine_prompt_logprobs=True) as stack:
            yield Court(stack, folder)
