"""The bytes of one answer that is to be looked at, kept by reference while they go to the client."""

from __future__ import annotations

from registry.outcomes.forms import AnswerChecks
from registry.outcomes.said import Subject

MOST_ANSWER_BYTES = 1 << 20
"""Of an answer that is longer nothing is looked at."""


class Tap:
    """Of one request. Begun anew by each attempt."""

    __slots__ = ("checks", "chunks", "left", "streamed", "subject", "tenant")

    def __init__(self, tenant: str, subject: Subject, checks: AnswerChecks | None) -> None:
        self.tenant = tenant
        self.subject = subject
        self.checks = checks
        self.streamed = False
        """Whether the engine has answered in events."""
        self.chunks: list[bytes] = []
        self.left = MOST_ANSWER_BYTES
        """Below 0: the answer is too long."""

    def begin(self, *, streamed: bool) -> None:
        """An engine's answer begins."""
        self.streamed = streamed
        self.chunks = []
        self.left = MOST_ANSWER_BYTES

    def take(self, chunk: bytes) -> None:
        """Some more of it, as the engine sent it."""
        self.left -= len(chunk)
        if self.left >= 0:
            self.chunks.append(chunk)
        else:
            self.chunks = []
