"""Which engines an adapter lives on: weighted rendezvous hashing, so that every process comes to the same order.

Each engine draws a number for the name, `-weight / ln(u)` with `u` in (0, 1) from a hash of both; the highest is first.
An engine that leaves moves only its own adapters, one that comes takes its share, and the share follows the weight
(Thaler & Ravishankar 1998; the weighted form is Schindelhauer & Schomaker's, SPAA 2005).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

CACHE_LIMIT = 100_000


class Homes:
    """The order of one set of engines, computed once for each name. `weights` are by URL, above 0."""

    __slots__ = ("_orders", "_weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = dict(weights)
        self._orders: dict[str, tuple[str, ...]] = {}

    def order(self, name: str) -> tuple[str, ...]:
        """URLs of all engines, the first home of `name` first."""
        order = self._orders.get(name)
        if order is None:
            if len(self._orders) >= CACHE_LIMIT:
                self._orders.clear()
            order = tuple(sorted(self._weights, key=lambda url: -self._draw(url, name)))
            self._orders[name] = order
        return order

    def same_as(self, weights: Mapping[str, int]) -> bool:
        """Whether this is the order for these engines."""
        return self._weights == weights

    def _draw(self, url: str, name: str) -> float:
        digest = hashlib.blake2b(f"{url}\0{name}".encode(), digest_size=8).digest()
        u = (int.from_bytes(digest, "big") + 0.5) / 2**64
        return -self._weights[url] / math.log(u)
