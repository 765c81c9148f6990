"""Key → principal."""

from __future__ import annotations

import time

from gateway.errors import Unauthenticated
from gateway.handoffs import Principal
from registry.catalog.snapshot import Catalog
from registry.tenants.store import hash_secret


def authenticate(key: str | None, catalog: Catalog) -> Principal:
    """The tenant behind a key. Raises `Unauthenticated`."""
    if key is None:
        raise Unauthenticated(
            "You didn't provide an API key. Send it as 'Authorization: Bearer sk-…', or in 'x-api-key' or 'api-key'.",
            code="missing_api_key",
        )
    entry = catalog.keys.get(hash_secret(key))
    if entry is None:
        raise Unauthenticated("Incorrect API key provided, or it was revoked.", code="invalid_api_key")
    if entry.expires_at_ms is not None and time.time() * 1000 >= entry.expires_at_ms:
        raise Unauthenticated("This API key has expired. Ask for another one.", code="expired_api_key")
    return Principal(
        entry.tenant,
        entry.key_id,
        entry.scopes,
        entry.allow_unknown_fields,
        entry.response_days,
        entry.max_stored_records,
        entry.max_stored_bytes,
        entry.shadow_consent,
        entry.weight,
        entry.adapters,
    )
