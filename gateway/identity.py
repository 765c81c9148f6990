"""Who a process is: the name under which it holds the fleet's lease, is known as a worker, and writes its journal.

Host and pid are for people. Containers with the host's network share its name and count pids each for itself, so what
tells two processes apart is the random token. Whoever starts a process and may have to speak for it when it has died
gives it the token.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass

MAX_HOST_LENGTH = 32
"""So that a name with a long host still fits the registry's columns."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process. Equal for nobody else, on whatever host or in whatever container."""

    pid: int
    token: str

    @classmethod
    def of_this_process(cls, token: str | None = None) -> Identity:
        """Under a token that the parent has chosen, or one of its own."""
        return cls(os.getpid(), token or new_token())

    def __str__(self) -> str:
        return f"{socket.gethostname()[:MAX_HOST_LENGTH]}-{self.pid}-{self.token}"


def gateway_name(port: int) -> str:
    """host:port of the gateway that serves there: what its workers have in common."""
    return f"{socket.gethostname()[:MAX_HOST_LENGTH]}:{port}"


def new_token() -> str:
    """48 random bits in hex."""
    return secrets.token_hex(6)
