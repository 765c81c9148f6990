"""Which models have no price: under a budget in dollars they are not served."""

from __future__ import annotations

from registry.catalog.snapshot import Catalog
from registry.db import now_ms
from registry.limits.scopes import ADAPTER, BASE, KEY, TENANT


def unpriced_models(catalog: Catalog, scope: str) -> list[str]:
    """Bases and adapters (`tenant/adapter`) that requests of the scope may ask for, and that have no price now."""
    kind, _, name = scope.partition(":")
    if kind == KEY:
        tenant = next((key.tenant for key in catalog.keys.values() if key.key_id == name), None)
    else:
        tenant = name.partition("/")[0]
    if tenant is None or _priced(catalog, f"{TENANT}:{tenant}"):
        return []
    priced_bases = {base.digest for base in catalog.bases.values() if _priced(catalog, f"{BASE}:{base.name}")}
    models = set()
    if kind != ADAPTER:
        models = {base.name for base in catalog.bases.values() if base.digest not in priced_bases}
    for version in catalog.versions_by_id.values():
        adapter = f"{version.tenant}/{version.adapter}"
        asked_for = version.tenant == tenant and (kind != ADAPTER or adapter == name)
        if asked_for and version.base_digest not in priced_bases and not _priced(catalog, f"{ADAPTER}:{adapter}"):
            models.add(adapter)
    return sorted(models)


def has_price(catalog: Catalog, tenant: str, model: str) -> bool:
    """Whether requests of the tenant for a base, or `tenant/adapter[@version]`, have a price now."""
    name, _, number = model.partition("@")
    if any(_priced(catalog, scope) for scope in (f"{TENANT}:{tenant}", f"{ADAPTER}:{name}", f"{BASE}:{name}")):
        return True
    owner, _, adapter = name.partition("/")
    entry = catalog.adapters.get((owner, adapter))
    versions = () if entry is None else entry.versions.values()
    digests = {version.base_digest for version in versions if number in ("", version.number)}
    return any(base.digest in digests and _priced(catalog, f"{BASE}:{base.name}") for base in catalog.bases.values())


def _priced(catalog: Catalog, scope: str) -> bool:
    at_ms = now_ms()
    return any(price.effective_from_ms <= at_ms for price in catalog.tariffs.get(scope, ()))
