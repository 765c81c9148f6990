"""What an answer costs, for clients who asked."""

from __future__ import annotations

from gateway.handoffs import Admitted, EngineCount
from registry.money import cost_nano, nano_to_dollars


def cost_of(admitted: Admitted, count: EngineCount) -> bytes:
    """A count in dollars, as a JSON number; null when no price is in force."""
    price = admitted.bill.price
    if price is None:
        return b"null"
    nano = cost_nano(count.prompt_tokens or 0, count.cached_tokens or 0, count.completion_tokens or 0, price)
    return nano_to_dollars(nano).encode()
