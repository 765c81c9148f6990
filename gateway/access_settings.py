"""Settings of who is let in: under which names, and for how long."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from gateway.metric_settings import MetricSettings, Names, names_of

HOST_NAME = r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*"


class AccessSettings(MetricSettings):
    """Read by the gateway."""

    allowed_hosts: Names = Field(
        [],
        description="Names that `Host` may have, such as llm.example.com, *.example.com for all below one, * for any "
        "(a JSON list, or with commas). IP addresses and names without a dot, such as localhost, always may. Default: "
        "any name where clients are served, and none but these on the operator's listener (admin_listen), so that a "
        "page which has its own name lead there (DNS rebinding) reads nothing.",
    )
    end_streams_of_keys: bool = Field(
        True,
        description="Whether answers under way end when their key is revoked or has reached its end: within a second "
        "on every worker, with an error event, and what was made until then is paid. False lets them finish.",
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _hosts(cls, given: Any) -> Any:
        """As lists of names are given."""
        return names_of(given)

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, given: list[str]) -> list[str]:
        """In lower case, without ports."""
        names = [name.lower().removesuffix(".") for name in given]
        for name in names:
            if not re.fullmatch(HOST_NAME, name):
                raise ValueError(f"{name!r} is no name of a host; expected llm.example.com, *.example.com or *")
        return names
