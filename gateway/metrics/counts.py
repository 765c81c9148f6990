"""What a worker tells the leader of the traffic since it told of it last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.handoffs import Endpoint


@dataclass(frozen=True, slots=True)
class CountedRow:
    """Requests that have all of this in common."""

    endpoint: Endpoint
    status: int
    """As the client saw it; 499: the client was gone."""
    engine: str
    """URL; "" where none was asked."""
    tenant: str
    """"" of strangers."""
    model: str
    """`tenant/adapter` or a base model; "" where none is known."""
    at: tuple[int, ...]
    """Places of `gateway.metrics.layout` that are not 0."""
    by: tuple[float, ...]
    """What is there."""


Tallies = dict[str, tuple[tuple[tuple[str, ...], float], ...]]
"""Family → the values of its labels, and how many more of them were counted."""
Level = tuple[str, tuple[str, ...], float]
"""Family, the values of its labels, and what it is now."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one worker."""

    gateway: str
    """host:port, which the workers of one gateway share."""
    rows: tuple[CountedRow, ...]
    tallies: Tallies
    waits: dict[str, tuple[float, ...]]
    """What requests waited for → a histogram of seconds: its sum, and a count for each bucket."""
    levels: tuple[Level, ...]
    """What is now: requests in flight, sizes, states."""
    kind: Literal["counted"] = "counted"


By = Literal["all", "endpoint", "engine", "tenant", "adapter"]


@dataclass(frozen=True, slots=True)
class AskSamples:
    """Tell me what Prometheus should know of a gateway and of the fleet; the answer has samples by family."""

    id: int
    gateway: str
    kind: Literal["samples"] = "samples"


@dataclass(frozen=True, slots=True)
class AskTraffic:
    """Tell me of the traffic of a gateway; the answer is a document of `gateway.metrics.series`."""

    id: int
    gateway: str
    window_s: int
    step_s: int
    by: By
    only: str | None
    """The one line of `by` that is wanted."""
    kind: Literal["traffic"] = "traffic"
