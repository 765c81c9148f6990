"""Settings of how requests wait for engines that are full."""

from __future__ import annotations

from pydantic import Field

from registry.settings import RegistrySettings


class LineSettings(RegistrySettings):
    """Read by the gateway and the controller."""

    engine_max_num_seqs: int | None = Field(
        None,
        gt=0,
        description="Requests that an engine runs at once, its --max-num-seqs: what is beyond that, of all workers "
        "together, waits in the gateway, where each tenant gets its share; less when "
        "requests wait in it all the same. Default: found out, from 32 on, up to 1024.",
    )
    engine_kept_seat_share: float = Field(
        0.125,
        ge=0,
        le=0.5,
        description="Of the requests that an engine runs at once, the part that is kept free of tenants that have "
        "their share of it or more, while another tenant has asked for something in the last minute; at least one "
        "where it runs four or more, none where it runs fewer. Who is alone has all. Responses in the background and "
        "`service_tier: flex` never get what is kept. 0: nothing is kept.",
    )
    turn_wait_s: float = Field(
        300.0,
        gt=0,
        description="Longest time that a request waits in the gateway until an engine has room for it, before 503.",
    )
    turn_wait_batch_s: float = Field(
        900.0,
        gt=0,
        description="Likewise, of responses in the background and of `service_tier: flex`, which let others go first.",
    )
