"""What readers have in common whose answers always come in one piece."""

from __future__ import annotations

from gateway.errors import ApiError


class Unstreamed:
    """Half of an `AnswerReader`: there is no stream."""

    complete = True

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """There are none."""
        return block, None

    def rest(self) -> bytes:
        """There is none."""
        return b""

    def failed(self, error: ApiError) -> bytes:
        """There is nothing that could be broken off."""
        return b""
