"""Settings of what comes through the door: how much of it one worker holds, and from whom."""

from __future__ import annotations

from pydantic import Field

from gateway.metric_settings import MetricSettings

MEBIBYTE = 1 << 20


class DoorSettings(MetricSettings):
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
