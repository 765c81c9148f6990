"""Settings of how tenants share what engines have for adapters."""

from __future__ import annotations

from pydantic import Field

from registry.settings import RegistrySettings


class AdapterSettings(RegistrySettings):
    """Read by the gateway and the controller."""

    engine_reserved_slots: int = Field(
        1,
        ge=0,
        description="Of the adapters that an engine runs at a time (its --max-loras), those that no tenant gets who "
        "runs one already, while there are tenants with adapters who run none. 0: one tenant may have all of them.",
    )
    engine_queued_loads_per_tenant: int = Field(
        64,
        gt=0,
        description="Cold adapters of one tenant that wait to be loaded on one engine; who asks for more gets 429. "
        "Tenants take turns, so that one's queue makes no other wait for more than the load that runs.",
    )
