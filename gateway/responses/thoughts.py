"""Thoughts of models that clients carry themselves (`encrypted_content`): sealed as what is stored, for one tenant."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from gateway.errors import BadRequest
from gateway.keeping import SEALED, Item
from registry.responses.sealing import Keyring, Unreadable

PLACE = "thoughts"


class Thoughts:
    """Seals and opens them."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, tenant: str, text: str) -> str:
        """What a client may carry: encrypted where there is a key, else packed alone."""
        sealed = self._keyring.seal(text.encode("utf-8", "replace"), tenant, PLACE)
        return SEALED + base64.b64encode(sealed).decode()

    def opened(self, tenant: str, items: Sequence[Item], most_bytes: int) -> tuple[list[Item], int]:
        """The same items with what was thought in the place of what is sealed; and how many bytes that is.

        Raises `BadRequest` for what was sealed for somebody else, with a key that is gone, or by nobody.
        """
        opened, length = [], 0
        for number, item in enumerate(items):
            sealed = item.get("encrypted_content")
            if sealed is not None:
                text = self._open(tenant, sealed, most_bytes - length, f"input[{number}].encrypted_content")
                length += len(text)
                part = {"type": "reasoning_text", "text": text.decode("utf-8", "replace")}
                item = {**item, "content": [part]}
                del item["encrypted_content"]
            opened.append(item)
        return opened, length

    def _open(self, tenant: str, sealed: str, most_bytes: int, param: str) -> bytes:
        try:
            raw = base64.b64decode(sealed.removeprefix(SEALED), validate=True)
            return self._keyring.open_bounded(raw, most_bytes, tenant, PLACE)
        except (binascii.Error, Unreadable):
            raise BadRequest(
                f"'{param}' is not what a model thought for this tenant, or it is too old or too long. Leave the item "
                "out.",
                param=param,
                code="invalid_encrypted_content",
            ) from None
