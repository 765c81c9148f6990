"""What a gateway can be told, by `SWITCHYARD_*` or `switchyard.toml`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from registry.settings import RegistrySettings


class GatewaySettings(RegistrySettings):
    """Settings of one gateway; every duration in seconds, every size in bytes."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, description="Port to listen on.")
    engines: list[str] = Field(
        ["http://127.0.0.1:8001"],
        description="Engine URLs, http://host:port, on a network that only the gateway reaches.",
    )
    engine_base: str | None = Field(
        None, description="Public name of the base model that the engines serve; default: the only registered one."
    )
    engine_platform: Literal["cpu", "gpu"] = Field(
        "gpu", description="Hardware of the engines; decides the cures they need."
    )
    engine_max_cpu_loras: int = Field(
        16,
        ge=3,
        description="The engines' --max-cpu-loras: adapters held at once, with the zero adapter and a free place.",
    )
    engine_api_key: str | None = Field(None, description="The engines' --api-key, if they have one.")
    head_timeout_s: float = Field(300.0, description="Longest wait for an engine's answer to begin.")
    idle_timeout_s: float = Field(120.0, description="Longest silence within an engine's answer.")
    cold_wait_s: float = Field(30.0, description="Longest time a request waits for a cold adapter before 503.")
    max_in_flight: int = Field(1024, description="Requests in flight on this gateway.")
    max_in_flight_per_tenant: int = Field(512, description="Requests in flight of one tenant.")
    catalog_poll_s: float = Field(0.5, description="How often the catalog's revision is looked at.")
    engine_check_s: float = Field(1.0, description="How often engines and the queue of swaps are looked at.")
    retire_after_s: float = Field(
        300.0, description="Unload an adapter that nothing points at after so long without use."
    )
    drain_timeout_s: float = Field(300.0, description="Longest wait of a swap for requests on the old version.")
