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
    engine_load_timeout_s: float = Field(
        120.0,
        gt=0,
        description="Longest time in which an engine must have loaded an adapter; then it is looked up whether it has.",
    )
    engine_load_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Of an engine's time, what loads of one tenant's adapters may take while other tenants' requests "
        "run on it, measured over 10 s: an engine reads an adapter between two steps, so each load is a pause in "
        "everybody's streams. 1: loads never pause.",
    )
