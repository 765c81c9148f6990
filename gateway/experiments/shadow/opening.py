"""Copies of requests as the settings of a gateway want them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.experiments.shadow.books import ShadowBooks
from gateway.experiments.shadow.copying import Copies, FleetSeen
from gateway.settings import GatewaySettings
from registry.catalog.snapshot import Catalog
from registry.service import Registry
from registry.shadows.pair_store import Allowance


def copies_of(
    settings: GatewaySettings,
    registry: Registry,
    fleet: FleetSeen,
    catalog: Callable[[], Catalog],
    on_result: Callable[[str], None],
) -> Copies:
    """Those of one process; `on_result` as in `ShadowBooks`."""
    kept = Allowance(settings.pair_days, settings.max_pairs_per_tenant, settings.max_pair_bytes_per_tenant)
    return Copies(
        fleet,
        catalog,
        ShadowBooks(registry.shadows, registry.pairs, kept, on_result),
        most_running=settings.shadow_concurrency,
        most_on_engine=settings.shadow_engine_in_flight,
        timeout_s=settings.answer_timeout_s,
    )
