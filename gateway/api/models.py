"""`GET /v1/models` and `GET /v1/models/{id}`: what this key can call, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request

from gateway.errors import ApiError, ModelNotFound
from gateway.handoffs import Principal
from gateway.path import House
from gateway.steps.authenticate import authenticate
from gateway.steps.resolve import resolve
from registry.catalog import Catalog
from registry.names import PRODUCTION


def models_router(house: House) -> APIRouter:
    """The two routes."""
    router = APIRouter(prefix="/v1", tags=["models"])

    @router.get("/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """Every name that this key may send as `model`: aliases, versions, own mappings, and base models."""
        catalog = house.catalog.current
        principal = authenticate(request.headers.get("authorization"), catalog)
        return {"object": "list", "data": list(_cards(principal, catalog))}

    @router.get("/models/{model:path}")
    async def retrieve_model(model: str, request: Request) -> dict[str, Any]:
        """One of them, by a name with or without slashes."""
        catalog = house.catalog.current
        principal = authenticate(request.headers.get("authorization"), catalog)
        try:
            target = resolve(principal, model, catalog)
        except ModelNotFound:
            raise
        except ApiError:
            raise ModelNotFound(model) from None  # a model that cannot be used now is not listed either
        if target.base is not None:
            return _card(model, target.base.created_at_s, "switchyard", None)
        assert target.version is not None
        return _card(model, target.version.created_at_s, principal.tenant, target.version.name)

    return router


def _cards(principal: Principal, catalog: Catalog) -> Iterator[dict[str, Any]]:
    tenant = principal.tenant
    for name in catalog.adapters_of.get(tenant, ()) if "inference" in principal.scopes else ():
        adapter = catalog.adapters[tenant, name]
        for alias, version in sorted(adapter.aliases.items()):
            public = f"{tenant}/{name}" if alias == PRODUCTION else f"{tenant}/{name}@{alias}"
            yield _card(public, version.created_at_s, tenant, version.name)
        for version in adapter.versions.values():
            if version.quarantined is None:
                yield _card(version.name, version.created_at_s, tenant, version.name)
    for external in sorted(name for owner, name in catalog.external if owner == tenant):
        try:
            target = resolve(principal, external, catalog)
        except ApiError:
            continue  # it points at what this key cannot use
        created_at_s = target.version.created_at_s if target.version else 0
        yield _card(external, created_at_s, tenant, target.version.name if target.version else None)
    if "base" in principal.scopes:
        for base in catalog.bases.values():
            yield _card(base.name, base.created_at_s, "switchyard", None)


def _card(model: str, created: int, owner: str, root: str | None) -> dict[str, Any]:
    """OpenAI's shape; `root` is the version that answers, when it is an adapter."""
    return {"id": model, "object": "model", "created": created, "owned_by": owner, "root": root}
