"""What the steps of the request path hand each other: small, frozen, in the order in which they appear.

Principal → Target → Arm → Hold → Attempt → chunks → Usage
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from registry.catalog import BaseEntry, SplitEntry, VersionEntry


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the tenant behind a valid key, and what the key may do."""

    tenant: str
    key_id: str
    scopes: frozenset[str]
    allow_unknown_fields: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What a model name stands for: a base model, or a version with the split (if any) of the alias that led to it."""

    requested: str
    mapped_to: str | None
    """What the tenant's own mapping made of `requested`, when it has one."""
    base: BaseEntry | None
    version: VersionEntry | None
    alias: str | None
    split: SplitEntry | None


UnitSource = Literal["header", "conversation_id", "previous_response_id", "first_turn"]


@dataclass(frozen=True, slots=True)
class Unit:
    """What stays together on one arm of a split, and where its identity came from."""

    value: str
    source: UnitSource


@dataclass(frozen=True, slots=True)
class Arm:
    """The one thing that will answer: a version or a base model, under its public name."""

    public_name: str
    base_digest: str
    version: VersionEntry | None
    split_id: int | None
    arm: str | None
    """The version number within a split; `None` when the alias is not split."""
    unit_source: UnitSource | None


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in, before anything was believed."""

    endpoint: Literal["chat", "completions"]
    authorization: str | None
    unit_header: str | None
    body: Callable[[], Awaitable[bytes]]
    """Reads the body; called once, and only for a known key that may begin now."""
    request_id: str


@dataclass(slots=True)
class Usage:
    """Tokens as the engine reported them; `None` until it has."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
