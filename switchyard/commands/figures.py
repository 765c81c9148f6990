"""Figures as tables show them."""

from __future__ import annotations

from registry.money import nano_to_dollars


def dollars(nano: int | None) -> str | None:
    """Nano-dollars as dollars with the decimals that count; nothing for what is not known or not set."""
    return None if nano is None else nano_to_dollars(nano)
