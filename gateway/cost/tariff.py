"""Which price is in force. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from registry.catalog.snapshot import Catalog, TariffEntry


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
