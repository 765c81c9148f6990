"""Settings of who has a name in metrics: each is some series, so there are few."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from registry.settings import RegistrySettings

MOST_NAMES = 200
Names = Annotated[list[str], NoDecode]


def names_of(given: Any) -> Any:
    """A JSON list, or names with commas between them, as an environment variable has them. Raises `ValueError`."""
    if not isinstance(given, str):
        return given
    if not given.lstrip().startswith("["):
        return [name.strip() for name in given.split(",") if name.strip()]
    try:
        return json.loads(given)
    except json.JSONDecodeError as error:
        raise ValueError(f"neither names with commas between them nor a JSON list ({error})") from error


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

    @field_validator("metrics_tenants", "metrics_adapters", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        """As an environment variable has them."""
        return names_of(given)
