"""Settings of what comes through the door: how much of it one worker holds, and from whom."""

from __future__ import annotations

from pydantic import Field, IPvAnyNetwork

from registry.settings import RegistrySettings

MEBIBYTE = 1 << 20


class DoorSettings(RegistrySettings):
    """Read by the processes that serve."""

    max_bytes_in_flight: int = Field(
        256 * MEBIBYTE,
        ge=16 * MEBIBYTE,
        description="Bytes that one worker holds for requests: bodies as they come, what is made of them, and answers "
        "in one piece. A tenant gets more only while it has fewer than are free, so one alone gets half.",
    )
    max_bytes_in_flight_per_tenant: int = Field(
        128 * MEBIBYTE, ge=8 * MEBIBYTE, description="Likewise, of one tenant; with more, it gets a 429."
    )
    max_answer_bytes: int = Field(
        64 * MEBIBYTE,
        ge=MEBIBYTE,
        description="Bytes of memory that one answer in one piece may take before it is complete; what is longer is "
        "refused with 400, and can be had as a stream.",
    )
    max_connections_per_address: int | None = Field(
        None,
        ge=1,
        description="Connections that one worker keeps of one client address (of IPv6: of one /64). Default: any "
        "number, as far as the limit of open files has room; without room strangers' go first, of who has most.",
    )
    trusted_proxies: list[IPvAnyNetwork] = Field(
        [],
        description='Networks of proxies and load balancers in front of the gateway, such as ["10.0.0.0/8"], on whose '
        "connections many clients come: max_connections_per_address does not hold for them. Default: none.",
    )
    invalid_keys_per_minute: int = Field(
        60,
        gt=0,
        description="Requests without a valid key of one client address that one worker answers at once, in a minute; "
        "the answers to more come a second late, as 429. Valid keys of the same address are served as ever.",
    )
    refusals_per_second: float = Field(
        50.0,
        gt=0,
        description="Requests of one tenant that one worker refuses at once for that tenant's own load (429), in a "
        "second; more refusals come about a second late, each connection's in its turn. What is served never waits.",
    )
