"""Where the dashboard listens, and which gateway it shows."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from dashboard.hosts import NAME

URL = r"^https?://[^\s/]+$"


class DashboardSettings(BaseSettings):
    """`SWITCHYARD_DASHBOARD_*`, then `switchyard.toml` in the working directory."""

    model_config = SettingsConfigDict(env_prefix="SWITCHYARD_", toml_file="switchyard.toml", extra="ignore")

    dashboard_host: str = Field("127.0.0.1", description="Address that the dashboard listens on.")
    dashboard_port: int = Field(8003, ge=1, le=65_535, description="Port that it listens on.")
    dashboard_allowed_hosts: Annotated[list[str], NoDecode] = Field(
        [],
        description="Names under which it may be opened, such as llm.example.com, *.example.com for all below one, * "
        "for any (a JSON list, or with commas). IP addresses and names without a dot, such as localhost, always may. "
        "Default: none but these, so that a page which has its own name lead here (DNS rebinding) gets nothing.",
    )
    dashboard_admin_url: str = Field(
        "http://127.0.0.1:8000",
        pattern=URL,
        description="Where the gateway serves /admin/v1: its own address, or that of SWITCHYARD_ADMIN_LISTEN. "
        "`switchyard dashboard` takes that of the gateway which runs here.",
    )
    dashboard_serving_url: str | None = Field(
        None,
        pattern=URL,
        description="Where the gateway serves tenants (/v1), for their own pages. Default: dashboard_admin_url.",
    )
    dashboard_session_hours: float = Field(
        12.0, gt=0, le=24 * 30, description="A login ends after so many hours without a page that is asked for."
    )
    dashboard_link_minutes: float = Field(
        30.0, gt=0, le=24 * 60, description="A one-time login link is good for so many minutes."
    )
    dashboard_timeout_s: float = Field(
        10.0, gt=0, le=120, description="Longest wait for an answer of the gateway; a page says then that it is away."
    )

    @field_validator("dashboard_allowed_hosts", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        """A JSON list, or names with commas between them, as the gateway reads its own."""
        if not isinstance(given, str):
            return given
        if not given.lstrip().startswith("["):
            return [item.strip() for item in given.split(",") if item.strip()]
        try:
            return json.loads(given)
        except json.JSONDecodeError as error:
            raise ValueError(f"neither items with commas between them nor a JSON list ({error})") from error

    @field_validator("dashboard_allowed_hosts")
    @classmethod
    def _host_names(cls, given: list[str]) -> list[str]:
        """In lower case, without ports."""
        names = [name.lower().removesuffix(".") for name in given]
        for name in names:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r} is no name of a host; expected llm.example.com, *.example.com or *")
        return names

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments beat the environment, which beats the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def url(self) -> str:
        """Where a browser on this host finds it."""
        host = "127.0.0.1" if self.dashboard_host in ("0.0.0.0", "::", "") else self.dashboard_host  # noqa: S104
        return f"http://[{host}]:{self.dashboard_port}" if ":" in host else f"http://{host}:{self.dashboard_port}"

    @property
    def serving_url(self) -> str:
        """Where tenants are served."""
        return self.dashboard_serving_url or self.dashboard_admin_url
