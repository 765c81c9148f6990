"""Who answers a request: the model's name, its weights, and where probes are found."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.mock_engine.adapters import Weights
from loadtest.mock_engine.answers import identity
from loadtest.mock_engine.worker import AdapterTable


@dataclass(frozen=True, slots=True)
class Serving:
    """The model that one request runs on. `weights` is None for the base."""

    model: str
    path: str
    weights: Weights | None
    noop: bool
    table: AdapterTable
    vocab_size: int

    @property
    def who(self) -> bytes:
        """Whose numbers and words are answered."""
        return identity(self.weights, self.noop)
