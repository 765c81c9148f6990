"""Nano-dollars as people write them; `registry.ledger.store.dollars_to_nano` is the way back."""

from __future__ import annotations

NANO = 1_000_000_000


def nano_to_dollars(nano: int) -> str:
    """All decimals that count: 300,000,000 → `0.3`, 5,000,000,000 → `5`."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    return sign + f"{nano // NANO}.{nano % NANO:09d}".rstrip("0").rstrip(".")
