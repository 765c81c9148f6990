"""Telling the gateway's log where logs that are only appended to end, so that whoever keeps it can see that one was cut
off: `switchyard audit verify --heads FILE`.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.fleet.duties.beside import Beside
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.heads import Head
from registry.service import Registry

log = logging.getLogger("switchyard.audit")
AT_ONCE = 20
"""In a line."""


class TellHeads:
    """Beside the rounds, every `every_s`: of the logs that have grown since they were told of last."""

    name = "heads"

    def __init__(self, registry: Registry, every_s: float, errands: Errands) -> None:
        self._registry = registry
        self._beside = Beside(errands, every_s)
        self._told: frozenset[Head] = frozenset()

    def is_due(self, this: Round) -> bool:
        """When the round reconciles."""
        return this.reconciles

    async def do(self, this: Round) -> None:
        """Begin, unless the last time is still under way. Raises what that has ended with."""
        self._beside.begin(self.tell)

    async def tell(self) -> None:
        """Once."""
        heads = await asyncio.to_thread(self._registry.heads.all)
        grown = [head for head in heads if head not in self._told]
        for first in range(0, len(grown), AT_ONCE):
            log.info("logs end with %s", " ".join(map(str, grown[first : first + AT_ONCE])))
        self._told = frozenset(heads)
