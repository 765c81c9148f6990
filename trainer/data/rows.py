"""What training data is once it has been read: examples of one prompt and one completion.

A chat conversation gives one example per assistant turn with weight 1; everything before the turn is its prompt.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: after `prompt`, say `completion`.

    `line` is the 1-based line of the file. `prompt` is plain text (completion format) or the turns before the answer.
    """

    line: int
    prompt: str | tuple[Message, ...]
    completion: str
