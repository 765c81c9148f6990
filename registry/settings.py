"""Where the registry keeps its state."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from registry.errors import InvalidInput

PREFIX = "SWITCHYARD_"
SETTINGS_FILE = Path("switchyard.toml")


class SwitchyardSettings(BaseModel):
    """Base of every settings class: `SWITCHYARD_*` first, then `switchyard.toml` in the working directory."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _sources(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Arguments beat the environment, which beats the file. Raises `InvalidInput` when that is no TOML."""
        try:
            file = tomllib.loads(SETTINGS_FILE.read_text("utf-8")) if SETTINGS_FILE.is_file() else {}
        except ValueError as error:
            raise InvalidInput(f"{SETTINGS_FILE}: {error}") from error
        environment = {
            name[len(PREFIX) :].lower(): value for name, value in os.environ.items() if name.upper().startswith(PREFIX)
        }
        return {**file, **environment, **given}


class RegistrySettings(SwitchyardSettings):
    """State of one installation; everything lies under `state_dir` unless a URL says otherwise."""

    state_dir: Path = Field(Path("var"), description="Folder for the database, blobs, caches, journals and logs.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; default: SQLite file in state_dir.")
    blob_url: str | None = Field(
        None, description="obstore URL (file://, s3://, gs://, az://); default: state_dir/blobs."
    )
    engine_group: str | None = Field(
        None,
        description="Group that may read the adapters in state_dir, for engines that run as another user. Default: "
        "nobody but this user may read anything there.",
    )
    max_lora_rank: int = Field(
        16, description="Largest LoRA rank that is admitted; must match the engines' --max-lora-rank."
    )

    @property
    def resolved_database_url(self) -> str:
        """The URL in force."""
        return self.database_url or f"sqlite:///{(self.state_dir / 'registry.db').absolute()}"

    @property
    def adapter_cache_dir(self) -> Path:
        """Folder of materialised adapters, one sub-folder a manifest digest; engines read it."""
        return (self.state_dir / "adapters").absolute()
