"""Bearer key → principal."""

from __future__ import annotations

from gateway.errors import Unauthenticated
from gateway.handoffs import Principal
from registry.catalog.snapshot import Catalog
from registry.tenants.store import hash_secret


def authenticate(authorization: str | None, catalog: Catalog) -> Principal:
    """The tenant behind `Authorization: Bearer sk-…`. Raises `Unauthenticated`."""
    scheme, _, secret = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated(
            "You didn't provide an API key. Send it as 'Authorization: Bearer sk-…'.", code="missing_api_key"
        )
    entry = catalog.keys.get(hash_secret(secret.strip()))
    if entry is None:
        raise Unauthenticated("Incorrect API key provided, or it was revoked.", code="invalid_api_key")
    return Principal(entry.tenant, entry.key_id, entry.scopes, entry.allow_unknown_fields)
