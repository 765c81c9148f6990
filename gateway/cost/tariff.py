"""Tokens → nano-dollars, at the price in force. Pure, and integers only."""

from __future__ import annotations

from collections.abc import Mapping

from registry.catalog.snapshot import Catalog, TariffEntry

MTOK = 1_000_000


def price_of(catalog: Catalog, tenant: str, adapter: str | None, base_digest: str, at_ms: int) -> TariffEntry | None:
    """The price at that instant: the adapter's own, else the tenant's, else the base's; `None` when there is none.

    `adapter` is its name without the tenant, or `None` for a base model.
    """
    tariffs = catalog.tariffs
    if not tariffs:
        return None
    if adapter is not None and (price := _at(tariffs, f"adapter:{tenant}/{adapter}", at_ms)):
        return price
    if price := _at(tariffs, f"tenant:{tenant}", at_ms):
        return price
    for base in catalog.bases.values():
        if base.digest == base_digest:
            return _at(tariffs, f"base:{base.name}", at_ms)
    return None


def _at(tariffs: Mapping[str, tuple[TariffEntry, ...]], scope: str, at_ms: int) -> TariffEntry | None:
    for price in tariffs.get(scope, ()):
        if price.effective_from_ms <= at_ms:
            return price
    return None


def cost_nano(prompt: int, cached: int, completion: int, price: TariffEntry) -> int:
    """What one attempt costs; `cached` of the `prompt` tokens came from the engine's prefix cache.

    Exact up to the end, where it is rounded once, half up, to a whole nano-dollar.
    """
    exact = (
        (prompt - cached) * price.input_nano_per_mtok
        + cached * price.cached_input_nano_per_mtok
        + completion * price.output_nano_per_mtok
    )
    return (exact + MTOK // 2) // MTOK


def most_nano(prompt: int, completion: int, price: TariffEntry) -> int:
    """No attempt of at most so many tokens costs more, whatever was cached: rounded up."""
    dearest = max(price.input_nano_per_mtok, price.cached_input_nano_per_mtok)
    return -(-(prompt * dearest + completion * price.output_nano_per_mtok) // MTOK)
