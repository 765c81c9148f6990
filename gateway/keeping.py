"""What dialects with state and the steps hand each other of it: what is asked for, and what is kept of an answer.

Nothing is kept on an engine. The registry keeps it for the tenant (`registry.responses`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from gateway.errors import ApiError
from registry.responses.turns import Item as Item
from registry.responses.turns import Status as Status

SEALED = "sw1."
"""What thoughts that were sealed here begin with; all others are another vendor's."""


class Keeping(NamedTuple):
    """What a request says of the state that is kept for its tenant."""

    store: bool
    """Whether its answer is to be kept."""
    items: Sequence[Item]
    """Its own input; what stands there for a kept item (`referred`) is replaced by that when it is recalled."""
    created_at_s: int
    """When its answer was begun, in seconds since the epoch."""
    previous_id: str | None = None
    """The response that it goes on from."""
    conversation_id: str | None = None
    """The conversation that it is a turn of."""
    background: bool = False
    """Whether the answer is made while nobody waits for it."""
    instructions: str | None = None
    """What the model is told before all turns, this time."""
    referred: Mapping[str, str] = MappingProxyType({})
    """Kept items that stand in its input by their ids alone, each with the id of the response that has it."""
    carries_thoughts: bool = False
    """Whether there are sealed thoughts in its input (`SEALED`), which are opened when it is recalled."""
    seals_thoughts: bool = False
    """Whether its client wants to carry what the model thinks."""
    seal: Callable[[str], str] | None = None
    """Seals a thought, where that is wanted; known when it was recalled."""
    unit: str | None = None
    """What the turn that began it all has in a split; known when earlier turns were recalled."""


class Answered(NamedTuple):
    """An answer as it is kept."""

    id: str
    status: Status
    output: Sequence[Item]
    """Each with an `id`."""
    document: bytes
    """All of it as the client gets it, `output` too."""


class KeptAnswer(Protocol):
    """The reader of an answer to a request with a `Keeping`. What tells the client that its answer is complete, an
    event or all of a document, is in its `rest()`: that goes out when the answer is kept.
    """

    def answered(self) -> Answered:
        """The whole answer; asked for when all of the engine's stream came, before `rest()`."""

    def broken_off(self, error: ApiError) -> Answered:
        """What was made until that ended it, as the client is told it too."""
