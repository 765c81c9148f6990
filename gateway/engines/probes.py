"""What our own questions to an engine cost it: proofs of effect, questions about its base, signs of life."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.handoffs import Endpoint

MOST_OF_A_CHAT = 1024
"""Tokens; some templates say 400 by themselves."""
PROBE_TIMEOUT_S = 120.0
"""Longest wait for the answer to one question."""
KEPT = 10_000
"""Probes that wait to be booked; while the ledger is away for longer, the oldest are dropped and counted."""


@dataclass(frozen=True, slots=True)
class AskedProbe:
    """One probe. `counted` tells the engine's own figures from the bounds of one that it did not answer."""

    endpoint: Endpoint
    model: str
    """The engine's name for what was asked."""
    counted: bool
    prompt_tokens: int
    cached_tokens: int | None
    completion_tokens: int | None
    started_at_ms: int
    finished_at_ms: int


class ProbeLog:
    """The probes of one engine: sums for people, and each one for the ledger until somebody takes it."""

    def __init__(self) -> None:
        self.asked = 0
        self.unanswered = 0
        """The engine may have worked on them, and did not say how much."""
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.dropped = 0
        self._waiting: deque[AskedProbe] = deque()

    def ended(self, endpoint: Endpoint, body: Mapping[str, Any], usage: Any, started_at_ms: int) -> None:
        """A probe with this body ended at an endpoint, with the engine's count of it or without one that can be read.

        A prompt without a count is taken for as many tokens as it has ids or characters, which it cannot exceed; a
        chat for more than templates make of our short ones.
        """
        self.asked += 1
        try:
            prompt, completion = int(usage["prompt_tokens"]), int(usage.get("completion_tokens", 0))
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        except (KeyError, TypeError, ValueError, AttributeError):
            self.unanswered += 1
            asked = body.get("prompt", body.get("input"))
            prompt = MOST_OF_A_CHAT if asked is None else len(asked)
            figures: tuple[bool, int, int | None, int | None] = (False, prompt, None, None)
        else:
            self.prompt_tokens += prompt
            self.completion_tokens += completion
            figures = (True, prompt, cached, completion)
        if len(self._waiting) >= KEPT:
            self._waiting.popleft()
            self.dropped += 1
        ended_ms = time.time_ns() // 1_000_000
        self._waiting.append(AskedProbe(endpoint, body["model"], *figures, started_at_ms, ended_ms))

    def take(self) -> list[AskedProbe]:
        """All that wait, oldest first; they are the caller's to book now."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
