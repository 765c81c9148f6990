"""Where the registry keeps its state."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from registry.days import MOST_DAYS
from registry.errors import InvalidInput
from registry.secret_files import SecretFiles


class SwitchyardSettings(BaseSettings):
    """Base of every settings class: `SWITCHYARD_*` first, then files that `SWITCHYARD_*_FILE` names, then
    `switchyard.toml` in the working directory. What cannot be shown has `repr=False`, and no error has values in it.
    """

    model_config = SettingsConfigDict(
        env_prefix="SWITCHYARD_", toml_file="switchyard.toml", extra="ignore", hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments beat the environment, which beats files of secrets, which beat the one of settings."""
        return init_settings, env_settings, SecretFiles(settings_cls), TomlConfigSettingsSource(settings_cls)


class RegistrySettings(SwitchyardSettings):
    """State of one installation; everything lies under `state_dir` unless a URL says otherwise."""

    state_dir: Path = Field(Path("var"), description="Folder for the database, blobs, caches, journals and logs.")
    database_url: str | None = Field(None, repr=False, description="SQLAlchemy URL; default: SQLite file in state_dir.")
    blob_url: str | None = Field(
        None, description="obstore URL (file://, s3://, gs://, az://); default: state_dir/blobs."
    )
    blob_options: dict[str, str] = Field(
        {},
        repr=False,
        description="More options of blob_url, such as credentials, under their names in obstore, as a JSON object: "
        '{"access_key_id": "…", "secret_access_key": "…", "region": "…"}. Default: what the environment says (AWS_*, '
        "GOOGLE_*, AZURE_*).",
    )
    engine_group: str | None = Field(
        None,
        description="Group that may read the adapters in state_dir, for engines that run as another user. Default: "
        "nobody but this user may read anything there.",
    )
    max_lora_rank: int = Field(
        16, description="Largest LoRA rank that is admitted; must match the engines' --max-lora-rank."
    )

    price_stale_days: int = Field(
        90,
        ge=1,
        le=MOST_DAYS,
        description="Prices of APIs that nobody has looked up for so many days are called stale in reports and lists.",
    )
    retirement_notice_days: int = Field(
        60,
        ge=1,
        le=MOST_DAYS,
        description="So many days before an API is shut down, the tenants that depend on it are warned.",
    )

    archive_usage_after_days: int | None = Field(
        None,
        ge=31,
        le=MOST_DAYS,
        description="Attempts that are older move from the database to Parquet files in blob_url, once a day (needs "
        "switchyard[archive]); sums by day stay. Default: never.",
    )
    wandb_entity: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Entity of Weights & Biases in which jobs' `integrations` are kept, with the key of "
        "trainers (WANDB_API_KEY), each in a project TENANT.PROJECT. Default: orders with integrations are refused.",
    )
    mlflow_registry: str | None = Field(
        None,
        min_length=1,
        description="URI of an MLflow registry in which every version that is trained here is registered too, as a "
        "model version of TENANT.ADAPTER; needs the package mlflow beside the trainer. Default: none.",
    )
    store_key: str | None = Field(
        None,
        repr=False,
        description="Encrypts stored responses, conversations and files: 32 bytes in base64 (`openssl rand -base64 "
        "32`), the same on every host. Several, with commas between them: the first writes, all of them read; `plain` "
        "behind them reads what was written without one. Default: they are not encrypted.",
    )

    @field_validator("store_key")
    @classmethod
    def _a_keyring(cls, given: str | None) -> str | None:
        """Keys that can be used; what is said of others has none of them."""
        if given is not None:
            from registry.responses.sealing import Keyring  # for who has keys

            try:
                Keyring(given)
            except InvalidInput as error:
                raise ValueError(error.message) from None
        return given

    @property
    def resolved_database_url(self) -> str:
        """The URL in force."""
        return self.database_url or f"sqlite:///{(self.state_dir / 'registry.db').absolute()}"

    @property
    def adapter_cache_dir(self) -> Path:
        """Folder of materialised adapters, one sub-folder a manifest digest; engines read it."""
        return (self.state_dir / "adapters").absolute()
