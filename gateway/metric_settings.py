"""Settings of who has a name in metrics: each is some series, so there are few."""

from __future__ import annotations

from pydantic import Field

from registry.listed import Names
from registry.settings import RegistrySettings

MOST_NAMES = 200


class MetricSettings(RegistrySettings):
    """Read by the gateway and the controller."""

    metrics_tenants: Names = Field(
        [],
        max_length=MOST_NAMES,
        description="Tenants that are named in /metrics and /admin/v1/traffic whatever traffic they have (a JSON list, "
        "or with commas). Default: none.",
    )
    metrics_top_tenants: int = Field(
        20,
        ge=0,
        le=MOST_NAMES,
        description="So many tenants more, those with the most requests, are named there; all others are `_other`.",
    )
    metrics_adapters: Names = Field(
        [],
        max_length=MOST_NAMES,
        description="Adapters (tenant/adapter) and base models that are named likewise. Default: none.",
    )
    metrics_top_adapters: int = Field(
        20, ge=0, le=MOST_NAMES, description="So many adapters and base models more, those with the most requests."
    )
