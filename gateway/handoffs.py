"""What the steps of the request path hand each other: small, frozen, in the order in which they appear.

Call → Principal → Target → Unit → Arm → Usage
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from registry.catalog.snapshot import BaseEntry, SplitEntry, VersionEntry


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


UnitSource = Literal["header", "conversation_id", "first_turn", "prompt"]


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


Ability = Literal["tool_calls", "prompt_logprobs"]
"""What a request may need and not every engine has."""


Endpoint = Literal["chat", "completions"]

Counts = Literal["nothing", "itself", "its base"]
"""For whom an engine's `/tokenize` says how long prompts are: for nobody, for itself, or for all engines of its base
that do the same, because they render as the base does.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in, before anything was believed."""

    endpoint: Endpoint
    authorization: str | None
    unit_header: str | None
    body: Callable[[], Awaitable[bytes]]
    """Reads the body; called once, and only for a known key that may begin now."""
    request_id: str
    engine_request_id: str
    """`request_id`, with the client's own name of the request behind it: the engine's log has both."""


ShownUsage = Literal["never", "at the end", "always"]
"""What a streaming client asked to see of the engine's count."""

UsageSource = Literal["engine", "partial", "estimated"]
"""`engine`: its final count. `partial`: its count up to the last event that was relayed. `estimated`: ours."""


CLIENT_GONE = "the client is gone"
"""Why the task of a request was cancelled, as its `CancelledError` says; else the gateway stops."""
CLIENT_GONE_STATUS = 499
"""nginx's, for what got no answer because nobody was there to read it."""
MOST_TOKENS = 1 << 40
"""No attempt has so many; the ledger's sums have room for a million such ones."""


@dataclass(slots=True)
class Usage:
    """Tokens of one attempt as the engine reported them; `None` until it has."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    source: UsageSource | None = None
    sent: bool = False
    """Whether the engine may have worked on it."""
    began_s: float | None = None
    """`time.perf_counter()` when the first bytes of a streamed answer came."""
    _by_choice: dict[int, int] = field(default_factory=dict)
    _by_prompt: dict[int, int] = field(default_factory=dict)

    def running(self, count: Mapping[str, Any], choice: int = 0, prompt: int = 0) -> None:
        """A count within a stream: of one of the prompts, and of one choice so far. Raises as `final`."""
        read, written = count["prompt_tokens"], count["completion_tokens"]
        if type(read) is not int or type(written) is not int:
            raise TypeError(f"{count} has no counts of tokens")
        if not (0 <= read < MOST_TOKENS and 0 <= written < MOST_TOKENS):
            raise TypeError(f"{count} cannot be")
        self._by_choice[choice] = written
        self._by_prompt[prompt] = read
        self.completion_tokens = sum(self._by_choice.values())
        self.prompt_tokens = sum(self._by_prompt.values())
        self.source = "partial"

    def final(self, count: Mapping[str, Any]) -> None:
        """The count of the whole answer. Raises `KeyError` or `TypeError` for what is none: money is made of it."""
        read, written = count["prompt_tokens"], count.get("completion_tokens", 0)
        cached = (count.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        if type(read) is not int or type(written) is not int or type(cached) is not int:
            raise TypeError(f"{count} has no counts of tokens")
        if not (0 <= read < MOST_TOKENS and 0 <= written < MOST_TOKENS and cached >= 0):
            raise TypeError(f"{count} cannot be")
        self.prompt_tokens = read
        self.completion_tokens = written
        self.cached_tokens = min(cached, read)
        self.source = "engine"
