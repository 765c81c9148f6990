"""Why an engine cannot answer a request now; nothing of an answer has come."""

from __future__ import annotations


class EngineUnreachable(Exception):
    """No connection, or it broke before the first byte of an answer: nothing reached the client; retry elsewhere."""


class CannotLoad(EngineUnreachable):
    """The adapter cannot be brought to this engine now. The controller knows: it says nothing about the engine."""


class AdapterMissing(CannotLoad):
    """The engine does not know the adapter that we believed resident; nothing was generated."""

    def __init__(self, engine_name: str) -> None:
        super().__init__("the engine does not know the adapter")
        self.engine_name = engine_name


class EngineTimeout(EngineUnreachable):
    """The engine took the request and did not begin an answer in time; it may be hung."""
