"""One engine: what it is declared to be, and what is known of it now. Both records travel whole, from whoever declares
an engine to the request path of every worker; a new field is added here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.handoffs import Ability, Counts, Endpoint

Source = Literal["settings", "admin"]
"""Who declares an engine: the settings of the gateway that leads, or an operator while it serves."""
VLLM = "vllm"
"""The kind of an engine of which nothing else is said."""
Platform = Literal["cpu", "gpu"]
EngineState = Literal["new", "up", "draining", "slow", "hung", "starting", "down", "refused"]
"""Only `up` and `slow` take new requests: `slow` missed one check and may only be busy. `starting`: it answers, and is
being met.
"""
TAKES_TRAFFIC: tuple[EngineState, ...] = ("up", "slow")
HOLDS: tuple[EngineState, ...] = (*TAKES_TRAFFIC, "draining", "hung")
"""States in which it is known to have what was loaded on it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine is declared to be. Its key is never in it: each process finds it in its own settings."""

    url: str
    """`http://host:port`, without a slash at the end; what it is known by."""
    base_digest: str
    platform: Platform
    places: int
    """Adapters that fit, its --max-cpu-loras: its weight when homes are chosen."""
    prompt_logprobs: bool = True
    """Whether it survives being asked for log-probabilities of prompts."""
    key_variable: str | None = None
    """Environment variable with its key; `None`: the settings have it, or it has none."""
    kind: str = VLLM
    """One of `gateway.engines.kinds.KINDS`."""
    source: Source = "settings"
    id: str | None = None
    """What the ledger knows it by when its URL changes; `None`: by its URL."""
    max_num_seqs: int | None = None
    """Requests that it runs at once, those beyond wait; `None`: nobody says."""
    pool: str | None = None
    """Of engines that are paid for together; `None`: it is in none."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What is known of an engine now, but for the adapters on it."""

    state: EngineState
    fault: str | None
    """Why it takes no traffic, or is slow; for people."""
    base_name: str | None
    """The name under which base-model requests are sent; `None` until the engine can take them."""
    lacks: frozenset[Ability] = frozenset()
    """What it cannot do."""
    max_model_len: int | None = None
    """Tokens of prompt and answer together."""
    counts: Counts = "nothing"
    """What its count of a prompt's tokens can be trusted with."""
    missing: frozenset[Endpoint] = frozenset()
    """Endpoints of its kind that it does not have."""
    queues: bool = False
    """Whether requests waited in it for their turn when it was looked at last."""
    slots: int | None = None
    """Different adapters that it runs at a time, its --max-loras; `None` until it has told."""
