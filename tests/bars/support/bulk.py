"""A registry with as many adapters as one likes, written straight into its tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from registry.adapters.rows import Adapter, Alias, Version
from registry.adapters.version_rows import VersionInfo
from registry.db import now_ms
from registry.splits.rows import Split
from registry.tables import Base
from registry.tenants.rows import ApiKey, Tenant
from registry.tenants.store import hash_secret
from tests.support.stack import House

Row = dict[str, Any]
Rows = dict[type[Base], list[Row]]
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
    rows: Rows = {
        Tenant: [{"name": name, "allow_unknown_fields": False, "created_at_ms": at_ms} for name in names],
        ApiKey: [_key(name, house.keys[name], at_ms) for name in names],
        **{model: [] for model in (Adapter, Version, Alias, Split)},
    }
    for number in range(adapters):
        _add_adapter(rows, number, names[number % tenants], real, at_ms)
    with house.registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
        for model, values in rows.items():
            connection.execute(insert(model), values)
    return [f"{row['tenant']}/{row['name']}" for row in rows[Adapter]]


def _key(tenant: str, secret: str, at_ms: int) -> Row:
    return {
        "id": f"key-{tenant}",
        "tenant": tenant,
        "sha256": hash_secret(secret).hex(),
        "shown": "sk-…",
        "label": "",
        "scopes": ["inference"],
        "created_at_ms": at_ms,
        "revoked_at_ms": None,
    }


def _add_adapter(rows: Rows, number: int, tenant: str, real: VersionInfo, at_ms: int) -> None:
    """One adapter with the bytes of `real`; every `SPLIT_EVERY`th with a second version and a split."""
    adapter_id = FIRST_ID + number
    first, second = FIRST_ID + 2 * number, FIRST_ID + 2 * number + 1
    rows[Adapter].append({"id": adapter_id, "tenant": tenant, "name": f"adapter-{number:05}", "created_at_ms": at_ms})
    rows[Version].append(_version(first, adapter_id, 0, real.manifest_digest, real, at_ms))
    rows[Alias].append({"adapter_id": adapter_id, "name": "production", "version_id": first, "etag": 1})
    if number % SPLIT_EVERY == 0:
        # Equal bytes are one version of an adapter, so second ones only look like others.
        rows[Version].append(_version(second, adapter_id, 1, f"sha256:{second:064x}", real, at_ms))
        rows[Split].append(
            {
                "adapter_id": adapter_id,
                "alias": "production",
                "salt": f"{adapter_id:032x}",
                "arms": [[first, 9_000], [second, 1_000]],
                "started_at_ms": at_ms,
                "ended_at_ms": None,
            }
        )


def _version(id_: int, adapter_id: int, minor: int, digest: str, real: VersionInfo, at_ms: int) -> Row:
    return {
        "id": id_,
        "adapter_id": adapter_id,
        "major": 1,
        "minor": minor,
        "manifest_digest": digest,
        "base_digest": real.base_digest,
        "facts": real.facts,
        "lineage": real.lineage,
        "quarantined": None,
        "created_at_ms": at_ms,
    }
