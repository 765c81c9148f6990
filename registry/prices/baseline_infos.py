"""What is known of a baseline: an API, what it charges by component, and whether it can still be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

COMPONENTS = ("input", "cached_input", "output", "batch_input", "batch_output", "training")
"""What has a price of its own, each in nano-dollars per million tokens; cached ones are a part of the input."""
STATUS, CLAIM, CHECKED = "status", "claim", "checked"
CALIBRATION = "calibration"
"""A line that has the digest of a calibration, so that a price version says which are known."""
TEXTS = ("substitute", "tokenizer", "provider")
FACTS = (STATUS, *TEXTS)
"""What is said of a baseline beside its prices, and beside what somebody claims."""
LIVE: Final = "live"
RETIRING: Final = "retiring"
RETIRED: Final = "retired"
State = Literal["live", "retiring", "retired"]
Origin = Literal["operator", "shipped", "genai-prices", "moved"]
"""Who put a line into the log: a person, this package, that package, or the table that was there before the log."""


@dataclass(frozen=True, slots=True)
class ComponentPrice:
    """The price of one component, and where it is from."""

    component: str
    nano_per_mtok: int
    effective_from_ms: int
    source: str
    retrieved_at_ms: int | None
    """When the source was read; `None`: nobody wrote it down."""
    note: str
    """What is doubtful about it, if anything."""
    seq: int
    """Its line in the log."""
    correction: bool
    """Whether it took the place of what the log said before of the same days."""
    origin: Origin
    stated_from_ms: int | None
    """From when the source says that it holds, where it was taken over too late for that."""


@dataclass(frozen=True, slots=True)
class PricePeriod:
    """The prices of a baseline in `[from_ms, until_ms)`. A component that is not there has no price then."""

    name: str
    from_ms: int
    until_ms: int | None
    """`None`: until further notice."""
    components: Mapping[str, ComponentPrice]

    @property
    def complete(self) -> bool:
        """Whether input and output have a price, so that a request has one."""
        return "input" in self.components and "output" in self.components

    def nano(self, component: str) -> int | None:
        """Nano-dollars per million tokens; `None`: no price."""
        price = self.components.get(component)
        return None if price is None else price.nano_per_mtok

    @property
    def input_nano_per_mtok(self) -> int:
        """Of a `complete` period."""
        return self.components["input"].nano_per_mtok

    @property
    def cached_input_nano_per_mtok(self) -> int:
        """Of a `complete` period: as much as input where the API has no other price for it."""
        return self.components.get("cached_input", self.components["input"]).nano_per_mtok

    @property
    def output_nano_per_mtok(self) -> int:
        """Of a `complete` period."""
        return self.components["output"].nano_per_mtok


@dataclass(frozen=True, slots=True)
class Fact:
    """What was last said of a baseline beside its prices, and where it is from."""

    text: str
    source: str
    retrieved_at_ms: int | None
    note: str
    seq: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that somebody names for a month on this baseline, which no list price has to give. Never a price."""

    nano_per_month: int
    workload: str
    """What it is said of, such as `1M requests of 500 + 500 tokens`."""
    source: str
    note: str
    seq: int


@dataclass(frozen=True, slots=True)
class BaselineInfo:
    """A baseline at an instant, as the log says it."""

    name: str
    state: State | None
    """`None`: nothing is known of it."""
    ends_at_ms: int | None
    """When it is, or was, shut down; `None`: nothing is known of an end."""
    substitute: str | None
    """The baseline that takes its place."""
    tokenizer: str | None
    """What counts its tokens, such as `o200k_base`; `None`: not known."""
    provider: str | None
    claim: Claim | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Where each of these is from, by `status`, `substitute`, `tokenizer`, `provider`."""
    checked_at_ms: int | None = None
    """When a source of its prices was last read; `None`: nobody wrote it down."""
