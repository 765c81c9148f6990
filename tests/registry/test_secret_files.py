"""Secrets that lie in files: they are read, and nothing that is shown or written has them."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import EngineSettings, GatewaySettings, engine_key_in
from registry.errors import InvalidInput, RegistryError
from registry.secret_files import MOST_BYTES
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.storage.blobs import BlobStore
from switchyard.command_line import fault_of_settings

CANARY = "canary-4711-of-the-vault"
SECRETS = {
    "fleet_secret": CANARY,
    "admin_key": f"sk-admin-{CANARY}-{CANARY}",
    "engine_api_key": CANARY,
    "budget_webhook_secret": CANARY,
    "budget_webhook_url": f"https://hooks.example/{CANARY}",
    "limits_store": f"valkey://:{CANARY}@10.0.0.1:6379/0",
    "database_url": f"postgresql+psycopg://switchyard:{CANARY}@10.0.0.1/switchyard",
    "blob_options": f'{{"access_key_id": "id", "secret_access_key": "{CANARY}"}}',
}


@pytest.fixture
def filed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of each secret, which the environment names; the secrets themselves are not in it."""
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(f"{secret}\n")
        monkeypatch.setenv(f"SWITCHYARD_{name.upper()}_FILE", str(tmp_path / name))
        monkeypatch.delenv(f"SWITCHYARD_{name.upper()}", raising=False)
    return tmp_path


@pytest.mark.usefixtures("filed")
def test_each_secret_is_read_from_its_file_and_is_in_no_environment() -> None:
    settings = GatewaySettings()
    for name, secret in SECRETS.items():
        if name != "blob_options":
            assert getattr(settings, name) == secret
    assert settings.blob_options["secret_access_key"] == CANARY
    assert CANARY not in str(dict(os.environ))


@pytest.mark.usefixtures("filed")
def test_what_is_shown_of_settings_has_no_secret_in_it() -> None:
    settings = GatewaySettings(engines=[EngineSettings(url="http://10.0.0.1:8001", api_key=CANARY)])
    for shown in (repr(settings), str(settings), f"{settings.engines}", "".join(map(str, settings.__repr_args__()))):
        assert CANARY not in shown


def test_a_variable_of_the_setting_itself_comes_first_and_a_file_before_the_toml(
    filed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (filed / "switchyard.toml").write_text('fleet_secret = "of the toml"\nadmin_key = "x"\n')
    monkeypatch.chdir(filed)
    assert GatewaySettings().fleet_secret == CANARY
    monkeypatch.setenv("SWITCHYARD_FLEET_SECRET", "of the environment")
    assert GatewaySettings().fleet_secret == "of the environment"


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe", "is no text"),
     (b"x" * (MOST_BYTES + 1), "more than")],
)  # fmt: skip
def test_a_file_that_is_no_secret_is_named_with_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, why: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SWITCHYARD_FLEET_SECRET_FILE", str(path))
    with pytest.raises(InvalidInput, match=why) as refused:
        GatewaySettings()
    assert str(path) in refused.value.message
    assert refused.value.message.startswith("SWITCHYARD_FLEET_SECRET_FILE is ")


@pytest.mark.parametrize(
    ("name", "secret"),
    [("limits_store", f"nonsense:{CANARY}"), ("engine_api_key", f"{CANARY} with a space"), ("store_key", CANARY),
     ("budget_webhook_url", f"no-url-{CANARY}"), ("blob_options", f"no json {CANARY}")],
)  # fmt: skip
def test_no_mistake_in_a_secret_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, secret: str
) -> None:
    (tmp_path / "secret").write_text(secret)
    monkeypatch.setenv(f"SWITCHYARD_{name.upper()}_FILE", str(tmp_path / "secret"))
    with pytest.raises(ValidationError) as refused:
        GatewaySettings()
    assert CANARY not in "".join(traceback.format_exception(refused.value))
    assert CANARY not in (fault_of_settings(refused.value) or CANARY)


def test_a_database_or_storage_that_cannot_be_used_says_so_without_its_credentials(tmp_path: Path) -> None:
    settings = RegistrySettings(
        state_dir=tmp_path, database_url=f"postgresql+psycopg://switchyard:{CANARY}@127.0.0.1:1/none?connect_timeout=1"
    )
    with pytest.raises(RegistryError) as away, Registry.open(settings):
        pass
    assert CANARY not in "".join(traceback.format_exception(away.value))
    with pytest.raises(InvalidInput) as refused:
        BlobStore("s3://bucket", {"no_such_option": CANARY}).check()
    assert CANARY not in refused.value.message


def test_engines_keys_lie_in_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("sk-engine\n")
    monkeypatch.setenv("SWITCHYARD_ENGINE_KEY_EAST_FILE", str(tmp_path / "key"))
    assert engine_key_in("SWITCHYARD_ENGINE_KEY_EAST") == "sk-engine"
    assert engine_key_in("SWITCHYARD_ENGINE_KEY_WEST") is None
