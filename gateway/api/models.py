"""`GET /v1/models` and `GET /v1/models/{id}`: what this key can call, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request

from gateway.api.credentials import key_of
from gateway.api.dialects import DIALECTS
from gateway.errors import ApiError, ModelNotFound
from gateway.fleet.view import FleetView
from gateway.handoffs import Ability, Principal
from gateway.house import House
from gateway.steps.authenticate import authenticate
from gateway.steps.resolve import resolve
from registry.catalog.snapshot import Catalog
from registry.names import PRODUCTION

EVERY_ENGINE = (*DIALECTS, "streaming", "structured_outputs")
ABILITIES: Mapping[Ability, str] = {"tool_calls": "tools", "prompt_logprobs": "prompt_logprobs"}
"""Features by what an engine may lack."""


def models_router(house: House) -> APIRouter:
    """The two routes."""
    router = APIRouter(prefix="/v1", tags=["models"])

    @router.get("/models")
    async def list_models(request: Request) -> dict[str, Any]:
        """Every name that this key may send as `model`: aliases, versions, own mappings, and base models."""
        catalog = house.catalog.current
        principal = authenticate(key_of(request.headers.raw), catalog)
        return {"object": "list", "data": list(_cards(principal, catalog, Skills(house.fleet.view())))}

    @router.get("/models/{model:path}")
    async def retrieve_model(model: str, request: Request) -> dict[str, Any]:
        """One of them, by a name with or without slashes."""
        catalog = house.catalog.current
        principal = authenticate(key_of(request.headers.raw), catalog)
        try:
            target = resolve(principal, model, catalog)
        except ModelNotFound:
            raise
        except ApiError:
            raise ModelNotFound(model) from None  # a model that cannot be used now is not listed either
        skills = Skills(house.fleet.view())
        if target.base is not None:
            return _card(model, target.base.created_at_s, "switchyard", None, skills.of(target.base.digest))
        assert target.version is not None
        version = target.version
        return _card(model, version.created_at_s, principal.tenant, version.name, skills.of(version.base_digest))

    return router


class Skills:
    """What clients may expect of models, by the digest of their base: what engines that serve now say of themselves."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, base_digest: str) -> dict[str, Any]:
        """`max_model_len`: what the shortest of its engines takes, null while there is none. `features`: what every
        engine can do, and what one at least of them says that it can.
        """
        if base_digest not in self._known:
            engines = self._view.of_base(base_digest)
            lengths = [engine.status.max_model_len for engine in engines if engine.status.max_model_len is not None]
            some = [
                name for ability, name in ABILITIES.items() if any(ability not in one.status.lacks for one in engines)
            ]
            self._known[base_digest] = {
                "max_model_len": min(lengths, default=None),
                "features": [*EVERY_ENGINE, *some],
            }
        return self._known[base_digest]


def _cards(principal: Principal, catalog: Catalog, skills: Skills) -> Iterator[dict[str, Any]]:
    tenant = principal.tenant
    for name in catalog.adapters_of.get(tenant, ()) if "inference" in principal.scopes else ():
        adapter = catalog.adapters[tenant, name]
        for alias, version in sorted(adapter.aliases.items()):
            public = f"{tenant}/{name}" if alias == PRODUCTION else f"{tenant}/{name}@{alias}"
            yield _card(public, version.created_at_s, tenant, version.name, skills.of(version.base_digest))
        for version in adapter.versions.values():
            if version.quarantined is None:
                skill = skills.of(version.base_digest)
                yield _card(version.name, version.created_at_s, tenant, version.name, skill)
    for external in sorted(name for owner, name in catalog.external if owner == tenant):
        try:
            target = resolve(principal, external, catalog)
        except ApiError:
            continue  # it points at what this key cannot use
        if target.version is not None:
            version = target.version
            skill = skills.of(version.base_digest)
            yield _card(external, version.created_at_s, tenant, version.name, skill)
        elif target.base is not None:
            yield _card(external, target.base.created_at_s, tenant, None, skills.of(target.base.digest))
    if "base" in principal.scopes:
        for base in catalog.bases.values():
            yield _card(base.name, base.created_at_s, "switchyard", None, skills.of(base.digest))


def _card(model: str, created: int, owner: str, root: str | None, skills: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's shape, and what vLLM and others have beside it; `root` is the version that answers, when it is an
    adapter.
    """
    return {"id": model, "object": "model", "created": created, "owned_by": owner, "root": root, **skills}
