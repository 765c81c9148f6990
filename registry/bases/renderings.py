"""How a base's chat template renders a few conversations: for a gateway to see that an engine renders them alike.

Proofs and fingerprints go by token ids, which no template touches: an engine that was started with another one passes
them all, and then answers every chat request to a prompt that no adapter was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TEMPLATE_ARGUMENTS: Mapping[str, str] = {"date_string": "01 Jan 2026"}
"""What templates that print the date are given, so that two days render alike."""
MAX_RENDERINGS, MAX_TOKENS = 8, 1024


@dataclass(frozen=True, slots=True)
class Conversation:
    """Roles and texts; `generates` when the template is to add what comes before an answer."""

    turns: tuple[tuple[str, str], ...]
    generates: bool

    def messages(self) -> list[dict[str, str]]:
        """As a chat request has them."""
        return [{"role": role, "content": text} for role, text in self.turns]


SYSTEM = ("system", "Answer in one word.")
USER = ("user", "What is the capital of France?")
ANSWER = ("assistant", "Paris.")
AGAIN = ("user", "  And of Italy?\n")
CONVERSATIONS = (
    Conversation((USER,), generates=True),
    Conversation((SYSTEM, USER), generates=True),
    Conversation((SYSTEM, USER, ANSWER), generates=False),
    Conversation((SYSTEM, USER, ANSWER, AGAIN), generates=True),
    Conversation((USER, ANSWER, AGAIN), generates=True),
)
"""A default system prompt shows in the first; how turns end, and whether texts are stripped, in the others."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """One conversation, and the token ids that the base's own template and tokenizer make of it."""

    conversation: Conversation
    token_ids: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """A document for `json.dumps`; `from_json` reads it back."""
        return {
            "messages": self.conversation.messages(),
            "generates": self.conversation.generates,
            "token_ids": list(self.token_ids),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Rendering:
        """What `to_json` wrote; `KeyError`, `TypeError` or `ValueError` when it is none."""
        turns = tuple((str(message["role"]), str(message["content"])) for message in document["messages"])
        token_ids = tuple(int(token) for token in document["token_ids"])
        if not 0 < len(token_ids) <= MAX_TOKENS or min(token_ids) < 0:
            raise ValueError(f"a rendering of {len(token_ids)} tokens; expected 1 to {MAX_TOKENS}, none negative")
        return cls(Conversation(turns, bool(document["generates"])), token_ids)


def read_renderings(documents: list[Mapping[str, Any]] | None) -> tuple[Rendering, ...] | None:
    """All of a base's; `None` when nobody has taken them. Raises as `Rendering.from_json`."""
    if documents is None:
        return None
    if len(documents) > MAX_RENDERINGS:
        raise ValueError(f"{len(documents)} renderings; expected up to {MAX_RENDERINGS}")
    return tuple(Rendering.from_json(document) for document in documents)
