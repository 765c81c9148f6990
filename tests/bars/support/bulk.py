"""A registry with as many adapters as one likes, written straight into its tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from registry.adapters.rows import Adapter, Alias, Version
from registry.db import now_ms
from registry.swaps.rows import Split
from registry.tables import Base
from registry.tenants.rows import ApiKey, Tenant
from registry.tenants.store import hash_secret
from tests.support.stack import House

FIRST_ID = 1_000
SPLIT_EVERY = 10
"""Every tenth adapter has a second version and splits its traffic between the two."""


def fill(house: House, tenants: int, adapters: int) -> list[str]:
    """So many tenants with one key each and so many adapters in production, dealt out over them; their names.

    Only one adapter is really published, and its bytes are every version's: so an engine can load them all. Must be
    called before anybody reads the catalog, for it tells nobody of what it writes.
    """
    house.tenant("published")
    real = house.publish("published/adapter")
    at_ms = now_ms()
    names = [f"tenant-{number:04}" for number in range(tenants)]
    house.keys |= {name: f"sk-{name}" for name in names}
    rows: dict[type[Base], list[dict[str, Any]]] = {
        Tenant: [{"name": name, "allow_unknown_fields": False, "created_at_ms": at_ms} for name in names],
        ApiKey: [
            {
                "id": f"key-{name}",
                "tenant": name,
                "sha256": hash_secret(house.keys[name]).hex(),
                "shown": "sk-…",
                "label": "",
                "scopes": ["inference"],
                "created_at_ms": at_ms,
                "revoked_at_ms": None,
            }
            for name in names
        ],
        Adapter: [],
        Version: [],
        Alias: [],
        Split: [],
    }
    for number in range(adapters):
        adapter_id = FIRST_ID + number
        version_ids = [FIRST_ID + 2 * number + minor for minor in range(1 if number % SPLIT_EVERY else 2)]
        rows[Adapter].append(
            {
                "id": adapter_id,
                "tenant": names[number % tenants],
                "name": f"adapter-{number:05}",
                "created_at_ms": at_ms,
            }
        )
        for minor, version_id in enumerate(version_ids):
            rows[Version].append(
                {
                    "id": version_id,
                    "adapter_id": adapter_id,
                    "major": 1,
                    "minor": minor,
                    # Equal bytes are one version of an adapter, so second ones only look like others.
                    "manifest_digest": real.manifest_digest if minor == 0 else f"sha256:{version_id:064x}",
                    "base_digest": real.base_digest,
                    "facts": real.facts,
                    "lineage": real.lineage,
                    "quarantined": None,
                    "created_at_ms": at_ms,
                }
            )
        rows[Alias].append({"adapter_id": adapter_id, "name": "production", "version_id": version_ids[0], "etag": 1})
        if len(version_ids) == 2:
            rows[Split].append(
                {
                    "adapter_id": adapter_id,
                    "alias": "production",
                    "salt": f"{adapter_id:032x}",
                    "arms": [[version_ids[0], 9_000], [version_ids[1], 1_000]],
                    "started_at_ms": at_ms,
                    "ended_at_ms": None,
                }
            )
    with house.registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
        for model, values in rows.items():
            connection.execute(insert(model), values)
    return [f"{row['tenant']}/{row['name']}" for row in rows[Adapter]]
