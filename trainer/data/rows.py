"""What training data is once it has been read: prompts with what is to be said after them.

A chat conversation gives one example per assistant turn with weight 1; everything before the turn is its prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the assistant calls; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. An assistant's `tool_calls` may stand in place of its content."""

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """All that is said: the content, and the calls as JSON."""
        return self.content + calls_text(self.tool_calls)


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: after `prompt`, say `completion`, or make `tool_calls`, or both.

    `line` is the 1-based line of the file. `prompt` is plain text (completion format) or the turns before the answer.
    `tools` is the text of a JSON list: the functions that the prompt offers, as OpenAI's chats do; empty without any.
    """

    line: int
    prompt: str | tuple[Message, ...]
    completion: str
    tool_calls: tuple[ToolCall, ...] = ()
    tools: str = ""

    @property
    def answer(self) -> Message:
        """The turn to be learnt."""
        return Message("assistant", self.completion, self.tool_calls)

    @property
    def asked(self) -> str:
        """What was asked last: the plain prompt, or the content of the last turn before the answer."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[-1].content


@dataclass(frozen=True, slots=True)
class Preference:
    """One pair for DPO: after `prompt`, `chosen` is better than `rejected`; both are turns of the assistant.

    `line` and `tools` are as in `Example`.
    """

    line: int
    prompt: tuple[Message, ...]
    chosen: Message
    rejected: Message
    tools: str = ""

    @property
    def pair(self) -> tuple[Example, Example]:
        """The chosen and the rejected answer, as examples of the same prompt."""
        return self._example(self.chosen), self._example(self.rejected)

    def _example(self, answer: Message) -> Example:
        return Example(self.line, self.prompt, answer.content, answer.tool_calls, self.tools)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row comes from that no person wrote: `kind` is synthetic, paraphrase or comparison (of two
    models' answers), `model` what wrote it, or the better one.

    `of` is the key of the row that it was made from, if any; `extra` holds what else the row says of it (reviewer, …).
    """

    kind: str
    model: str = ""
    of: str = ""
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


def calls_text(calls: Sequence[ToolCall]) -> str:
    """Calls as one JSON text, apart from their ids, which say nothing; empty without any."""
    if not calls:
        return ""
    return json.dumps([[call.name, json.loads(call.arguments)] for call in calls], ensure_ascii=False, sort_keys=True)
