"""Who asks, as the steps of the request path hand it on."""

from __future__ import annotations

from typing import NamedTuple


class Principal(NamedTuple):
    """Who asks: the tenant behind a valid key, and what the key may do."""

    tenant: str
    key_id: str
    scopes: frozenset[str]
    allow_unknown_fields: bool
    response_days: int | None = None
    """How long the tenant's answers are kept; 0: never; `None`: as long as the gateway's setting."""
    max_stored_records: int | None = None
    """Most responses, conversations and items that are kept for the tenant; `None`: as the gateway's setting."""
    max_stored_bytes: int | None = None
    """Likewise, their bytes."""
    shadow_consent: bool = False
    """Whether the tenant's requests may be copied to a candidate version."""
    weight: int = 1
    """The tenant's share of engines that are full, beside that of others."""
    adapters: frozenset[str] | None = None
    """Names of the tenant's adapters that the key is for; `None`: all."""

    def may_use(self, adapter: str) -> bool:
        """Whether the key is for this adapter of the tenant's."""
        return self.adapters is None or adapter in self.adapters
