"""The bytes of one answer that is to be looked at, kept by reference while they go to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.handoffs import Arm, Target

MOST_ANSWER_BYTES = 1 << 20
"""Of an answer that is longer nothing is looked at."""


class Tap:
    """Of one request. Begun anew by each attempt. What is known of it is kept as it is: the event loop makes nothing of
    it.
    """

    __slots__ = ("arm", "chunks", "is_whole", "left", "request_id", "streamed", "target", "unit_hash")

    def __init__(self, request_id: str, target: Target, arm: Arm, unit_hash: str | None) -> None:
        self.request_id = request_id
        self.target = target
        self.arm = arm
        self.unit_hash = unit_hash
        self.is_whole = False
        """Whether an engine has given all of the answer."""

    def begin(self, *, streamed: bool) -> None:
        """An engine's answer begins: in events, or in one piece."""
        self.streamed = streamed
        self.chunks: list[bytes] = []
        self.left = MOST_ANSWER_BYTES
        """Below 0: the answer is too long."""

    def take(self, chunk: bytes) -> None:
        """Some more of it, as the engine sent it."""
        self.left = left = self.left - len(chunk)
        if left >= 0:
            self.chunks.append(chunk)
        else:
            self.chunks.clear()
