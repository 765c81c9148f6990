"""The operator's key: what the admin API asks for, and no tenant has.

Set as `admin_key`, or else in a file of the state folder that whoever needs it first makes: so every process of one
installation has the same key, and a person on its host can read it.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from gateway.settings import GatewaySettings
from registry.errors import InvalidInput

PREFIX = "sk-admin-"
MIN_LENGTH = 32
"""Shorter ones could be guessed; those that we make have 256 random bits."""


def admin_key_file(settings: GatewaySettings) -> Path:
    """Where the key lies when the settings do not give it."""
    return settings.state_dir / "admin-key"


def admin_key(settings: GatewaySettings) -> str:
    """The key in force; its file is made if it is not there. Raises `InvalidInput`."""
    if settings.admin_key is None:
        path = admin_key_file(settings)
        if not path.exists():
            _make(path)
    return known_admin_key(settings)


def known_admin_key(settings: GatewaySettings) -> str:
    """The key in force, for a caller of the API. Raises `InvalidInput` when no gateway has made one here."""
    if settings.admin_key is not None:
        return _checked(settings.admin_key, "SWITCHYARD_ADMIN_KEY")
    path = admin_key_file(settings)
    try:
        return _checked(path.read_text("utf-8").strip(), str(path))
    except FileNotFoundError:
        raise InvalidInput(
            f"there is no admin key: SWITCHYARD_ADMIN_KEY is not set, and {path} is made by a gateway when it starts; "
            "set SWITCHYARD_ADMIN_KEY, or SWITCHYARD_STATE_DIR to the gateway's folder",
            param="admin_key",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"the admin key in {path} cannot be read ({error}); run this as the gateway's user, or set "
            "SWITCHYARD_ADMIN_KEY",
            param="admin_key",
        ) from error


def _checked(key: str, where: str) -> str:
    """Never shown in an error, because those are logged."""
    if len(key) >= MIN_LENGTH and key.isascii() and key.isprintable() and " " not in key:
        return key
    raise InvalidInput(
        f"the admin key of {where} has {len(key)} characters; expected at least {MIN_LENGTH} printable ASCII ones "
        "without a space. Delete the file or unset the variable, and the gateway makes one",
        param="admin_key",
    )


def _make(path: Path) -> None:
    """Written whole under another name and then linked: of many processes one wins, and nobody reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".admin-key-")  # mode 600, whatever the umask is
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{PREFIX}{secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was first, and its key is the key
            os.link(name, path)
    finally:
        os.unlink(name)
