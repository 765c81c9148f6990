"""Carries out an order on a registry, as the admin API and commands do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from registry.audit.order import CURRENT, Order, Ordered


@contextmanager
def ordered(about: str = "acme", **fields: object) -> Iterator[Order]:
    """What is written in the block is this order's doing; it is done at the end."""
    order = Order(Ordered(**{"actor": "ada", "via": "api", "route": "/x", "object": about, "tenant": None, **fields}))  # type: ignore[arg-type]
    token = CURRENT.set(order)
    try:
        yield order
    finally:
        CURRENT.reset(token)
    order.end("done", status=200)
