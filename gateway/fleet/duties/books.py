"""Writing down what probes cost and what engines count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.engines.managed import ManagedEngine
from gateway.fleet.books import Books
from gateway.fleet.duties.rounds import Round


@dataclass(frozen=True, slots=True)
class KeepBooks:
    """`gateway.fleet.books`, every few seconds."""

    books: Books
    engines: Sequence[ManagedEngine]
    name: str = "books"

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Bring what is new to the database."""
        await self.books.keep(self.engines)
