"""What attempts use, and to whom it is charged."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from registry.catalog.snapshot import TariffEntry

UsageSource = Literal["engine", "partial", "estimated"]
"""`engine`: its final count. `partial`: its count up to the last event that was relayed. `estimated`: ours."""


class Usage(NamedTuple):
    """What one attempt has used, as it is booked; `None` is unknown. Only the meter makes one."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    source: UsageSource | None = None


class Bill(Protocol):
    """What a request holds of its limits, and what its attempts are charged to."""

    @property
    def price(self) -> TariffEntry | None:
        """Of its tokens; `None` when none is known."""

    @property
    def held_prompt(self) -> int:
        """The most tokens that its prompts have, by which a budget holds; 0 where none are held."""

    @property
    def most_prompt(self) -> int:
        """The most that they can have, whatever an engine has counted before; likewise."""

    def within(self, usage: Usage) -> Usage:
        """As much of it as the request holds: nobody is charged for more, whatever an engine says."""

    def now_ms(self) -> int:
        """The time of an attempt that begins now, in milliseconds since the epoch."""

    def cost(self, usage: Usage, outcome: str) -> int | None:
        """What an attempt costs, in nano-dollars; `None` when no price is known."""

    def charge(self, usage: Usage, outcome: str, started_at_ms: int) -> int | None:
        """Its cost, with which all limits of the request are charged."""
