"""When requests came: their ids begin with it."""

from __future__ import annotations

TIME_DIGITS = 12
"""Of a request's id: milliseconds since the epoch, in hexadecimal digits (`gateway.api.request_ids`)."""


def arrived_ms(request_id: str) -> int:
    """When a request of ours came, in milliseconds since the epoch: the same for whoever sees its id."""
    return int(request_id[:TIME_DIGITS], 16)
