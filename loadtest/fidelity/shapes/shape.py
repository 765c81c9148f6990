"""What a shape of a request is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loadtest.fidelity.rules import Rule

Need = Literal["tools", "prompt_logprobs", "responses", "messages", "pooling"]
"""What an engine must have, of itself or by its flags: endpoints of its own for Responses and Messages, or a model that
pools and then generates nothing.
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """One request, without its model."""

    name: str
    """`dialect: what it tries`, unlike all others'."""
    path: str
    """Below the gateway's URL."""
    body: Mapping[str, Any]
    differs: tuple[Rule, ...] = ()
    """What is rightly different for this one."""
    needs: frozenset[Need] = frozenset()
    """Without these of an engine, the shape says nothing."""
    engine_path: str | None = None
    """Below the engine's URL; the same by default."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        """What its name begins with."""
        return self.name.partition(":")[0]
