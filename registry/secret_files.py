"""Settings that lie in files: secrets that Docker, Kubernetes or systemd mount, so that no environment shows them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode, PydanticBaseSettingsSource

from registry.errors import InvalidInput

ENDING = "_FILE"
MOST_BYTES = 65_536


class SecretFiles(PydanticBaseSettingsSource):
    """`SWITCHYARD_X_FILE` in the environment names the file whose text is the setting X, unless `SWITCHYARD_X` is there
    too. Raises `InvalidInput` for a file that cannot be read, and never says what is in one.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """What the file of a setting says; `None`: none is named."""
        variable = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        text = None if variable in os.environ else secret_in_file(variable)
        return text, field_name, self.field_is_complex(field) and NoDecode not in field.metadata

    def __call__(self) -> dict[str, Any]:
        """Of all settings that have a file."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            text, _, is_json = self.get_field_value(field, name)
            if text is not None:
                found[name] = _document(text) if is_json else text
        return found


def _document(text: str) -> Any:
    """What a text in JSON says; one that is none stays a text, of which the setting says what it expects."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def secret_in_file(variable: str) -> str | None:
    """The text of the file that `VARIABLE_FILE` of the environment names, without the end of its last line; `None`:
    it names none. Raises `InvalidInput`.
    """
    where = os.environ.get(f"{variable}{ENDING}")
    if not where:
        return None
    try:
        with Path(where).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        raise _unusable(variable, where, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _unusable(variable, where, "is no text in UTF-8") from None
    if not text or len(content) > MOST_BYTES:
        raise _unusable(variable, where, "is empty" if not text else f"has more than {MOST_BYTES} bytes")
    return text


def _unusable(variable: str, where: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"{variable}{ENDING} is {where!r}, which {why}; name a file with the secret alone that this user may read",
        param=f"{variable}{ENDING}".removeprefix("SWITCHYARD_").lower(),
    )
