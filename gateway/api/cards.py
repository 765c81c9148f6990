"""What a key can call, as cards: every name with what is behind it and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from gateway.api.dialects import DIALECTS
from gateway.api.retirements import retires_at_vendor
from gateway.errors import ApiError, ModelNotFound
from gateway.fleet.view import FleetView
from gateway.handoffs import Ability, Principal, Target
from gateway.steps.resolve import resolve
from registry.catalog.snapshot import BaseEntry, Catalog, VersionEntry
from registry.names import PRODUCTION

Card = dict[str, Any]
OPERATOR = "switchyard"
"""Who owns base models."""
OF_GENERATION = ("streaming", "structured_outputs")
"""What every engine can that generates."""
ABILITIES: Mapping[Ability, str] = {
    "tool_calls": "tools",
    "reasoning": "reasoning",
    "prompt_logprobs": "prompt_logprobs",
}
"""Features by what an engine may lack."""


class Skills:
    """What clients may expect of models, by the digest of their base: what engines that serve now say of themselves."""

    def __init__(self, view: FleetView) -> None:
        self._view = view
        self._known: dict[str, Card] = {}

    def of(self, base_digest: str) -> Card:
        """`max_model_len`: what the shortest of its engines takes, null while there is none. `endpoints` and
        `features`: what one of them at least has and can.
        """
        if base_digest not in self._known:
            engines = self._view.of_base(base_digest)
            lengths = [engine.status.max_model_len for engine in engines if engine.status.max_model_len is not None]
            served = [one for one in DIALECTS.values() if any(one.asks not in of.status.missing for of in engines)]
            generating = [engine for engine in engines if "completions" not in engine.status.missing]
            some = [
                name
                for ability, name in ABILITIES.items()
                if any(ability not in engine.status.lacks for engine in generating)
            ]
            self._known[base_digest] = {
                "max_model_len": min(lengths, default=None),
                "endpoints": [one.path for one in served],
                "features": [*OF_GENERATION, *some] if generating else [],
            }
        return self._known[base_digest]


class Cards:
    """Of one key, by one catalog. OpenAI's shape, and what vLLM and others have beside it."""

    def __init__(self, principal: Principal, catalog: Catalog, view: FleetView) -> None:
        self._principal = principal
        self._catalog = catalog
        self._skills = Skills(view)
        self._bases = {base.digest: base.name for base in catalog.bases.values()}

    def all(self) -> Iterator[Card]:
        """Every name that the key may send as `model`: aliases, versions, own mappings, and base models."""
        catalog, tenant = self._catalog, self._principal.tenant
        for name in catalog.adapters_of.get(tenant, ()) if "inference" in self._principal.scopes else ():
            if not self._principal.may_use(name):
                continue
            adapter = catalog.adapters[tenant, name]
            for alias, version in sorted(adapter.aliases.items()):
                yield self._of_version(
                    f"{tenant}/{name}" if alias == PRODUCTION else f"{tenant}/{name}@{alias}", version
                )
            for version in adapter.versions.values():
                if version.quarantined is None:
                    yield self._of_version(version.name, version)
        for external in catalog.external_of.get(tenant, ()):
            with suppress(ApiError):  # it points at what this key cannot use
                yield self._of(resolve(self._principal, external, catalog))
        if "base" in self._principal.scopes:
            yield from map(self._of_base, catalog.bases, catalog.bases.values())

    def one(self, name: str) -> Card:
        """That of a name. Raises `ModelNotFound`, also for a model that cannot be used now: it is not listed either."""
        try:
            return self._of(resolve(self._principal, name, self._catalog))
        except ApiError:
            raise ModelNotFound(name) from None

    def _of(self, target: Target) -> Card:
        name = target.requested
        if target.version is not None:
            card = self._of_version(name, target.version)
        else:
            assert target.base is not None
            card = self._of_base(name, target.base)
        if target.mapped_to is not None:
            card |= {"maps_to": target.mapped_to, "retires_at_vendor": retires_at_vendor(name)}
        return card

    def _of_version(self, name: str, version: VersionEntry) -> Card:
        return self._card(name, version.created_at_s, self._principal.tenant, version.name, version.base_digest)

    def _of_base(self, name: str, base: BaseEntry) -> Card:
        owner = OPERATOR if name == base.name else self._principal.tenant
        return self._card(name, base.created_at_s, owner, None, base.digest)

    def _card(self, name: str, created_at_s: int, owner: str, root: str | None, base_digest: str) -> Card:
        """`root` is the version that answers, when it is an adapter."""
        return {
            "id": name,
            "object": "model",
            "created": created_at_s,
            "owned_by": owner,
            "root": root,
            "base": self._bases.get(base_digest),
            **self._skills.of(base_digest),
        }
