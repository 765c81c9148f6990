"""Signatures by the Standard Webhooks specification (https://www.standardwebhooks.com): OpenAI's clients check them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """`whsec_` and 256 random bits in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(event_id: str, at_s: int, body: bytes, by: Iterable[str]) -> dict[str, str]:
    """The headers that prove who has sent a body, and when: one signature for each secret, with spaces between them.

    A signature is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. The key is what is behind `whsec_` in
    base64, or a secret of another form as it is.
    """
    signed = f"{event_id}.{at_s}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode() for secret in by)
    headers = {"webhook-id": event_id, "webhook-timestamp": str(at_s)}
    found = " ".join(f"v1,{signature}" for signature in signatures)
    return {**headers, "webhook-signature": found} if found else headers


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX)) if secret.startswith(PREFIX) else secret.encode()
