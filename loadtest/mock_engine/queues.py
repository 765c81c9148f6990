"""The scheduler's two limits, and the prefix cache: what vLLM keeps between requests."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b


class Admission:
    """At most `max_num_seqs` requests run, on at most `max_loras` distinct adapters; the others wait.

    A waiting request whose adapter has no slot is passed over by later ones, as vLLM's scheduler does.
    """

    def __init__(self, max_num_seqs: int, max_loras: int) -> None:
        self.running = 0
        self.max_running = 0
        self._max_num_seqs = max_num_seqs
        self.max_loras = max_loras
        self._adapters: Counter[int] = Counter()
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def waiting(self) -> int:
        """Requests that have no place yet."""
        return len(self._waiting)

    @asynccontextmanager
    async def place(self, adapter: int | None) -> AsyncIterator[None]:
        """Hold a place while the request runs; `adapter` is its number, None for the base."""
        while not self._fits(adapter):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            finally:
                if turn in self._waiting:
                    self._waiting.remove(turn)
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        if adapter is not None:
            self._adapters[adapter] += 1
        try:
            yield
        finally:
            self._leave(adapter)

    def _fits(self, adapter: int | None) -> bool:
        if self.running >= self._max_num_seqs:
            return False
        return adapter is None or adapter in self._adapters or len(self._adapters) < self.max_loras

    def _leave(self, adapter: int | None) -> None:
        self.running -= 1
        if adapter is not None:
            self._adapters[adapter] -= 1
            if not self._adapters[adapter]:
                del self._adapters[adapter]
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Prompt tokens found in the prefix cache, and tokens of whole blocks written to it."""

    cached: int
    created: int


class PrefixCache:
    """Which prompt blocks were computed before, per (adapter's name and path, salt). Holds `capacity` blocks."""

    def __init__(self, block_size: int, capacity: int = 4_096) -> None:
        self.queries = 0
        self.hits = 0
        self._block_size = block_size
        self._capacity = capacity
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def match(self, identity: str, prompt: tuple[int, ...]) -> CacheUse:
        """Cached tokens of the prompt, whole blocks and never its last token; its blocks are cached from now on."""
        self.queries += len(prompt)
        cached, unbroken, key = 0, True, blake2b(identity.encode(), digest_size=16).digest()
        for start in range(0, len(prompt) - len(prompt) % self._block_size, self._block_size):
            block = array("q", prompt[start : start + self._block_size]).tobytes()
            key = blake2b(key + block, digest_size=16).digest()
            unbroken = unbroken and key in self._blocks and start + self._block_size < len(prompt)
            cached += self._block_size * unbroken
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)
        self.hits += cached
        whole = len(prompt) - len(prompt) % self._block_size
        return CacheUse(cached, whole - cached)
