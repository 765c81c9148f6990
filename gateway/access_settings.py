"""Settings of who is let in: processes of the fleet, the operator, and clients, under which names and how long."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from registry.listed import Names
from registry.settings import RegistrySettings

HOST_NAME = r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*"


class AccessSettings(RegistrySettings):
    """Read by the gateway."""

    controller_listen: str | None = Field(
        None,
        description="Where workers reach the fleet's controller if it leads: unix:/path, or tcp:host:port for workers "
        "on other hosts (a private network; needs fleet_secret). Default: a Unix socket in state_dir.",
    )
    fleet_secret: str = Field(
        "", repr=False, description="What workers prove to the controller that they are of this fleet."
    )
    admin_key: str | None = Field(
        None,
        repr=False,
        description="The operator's key for /admin/v1, at least 32 characters and the same on every host. Default: the "
        "file admin-key in state_dir, made by the gateway.",
    )
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

    audit_heads_every_s: float = Field(
        3600.0,
        gt=0,
        description="How often the gateway's log is told how many lines the audit log, decisions, prices, engine costs "
        "and usage have, and the digests of the last ones: `switchyard audit verify --heads FILE` finds by them what "
        "was cut off since.",
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, given: list[str]) -> list[str]:
        """In lower case, without ports."""
        names = [name.lower().removesuffix(".") for name in given]
        for name in names:
            if not re.fullmatch(HOST_NAME, name):
                raise ValueError(f"{name!r} is no name of a host; expected llm.example.com, *.example.com or *")
        return names
