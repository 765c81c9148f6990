"""What can be trained: a base model, or a version that training goes on from."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import BadRequest, ModelNotFound
from gateway.fleet.view import FleetView
from gateway.handoffs import Principal
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.errors import InvalidInput
from registry.names import parse_ref


@dataclass(frozen=True, slots=True)
class Trainable:
    """What a training begins with."""

    base: str
    """Public name of the base model."""
    continues: str | None
    """`tenant/adapter@version`, if it goes on from one."""


def trainable(principal: Principal, model: str, catalog: Catalog, view: FleetView) -> Trainable:
    """What a name stands for, for this key, as it does in a request; but a base needs no scope to be trained on.

    Raises `ModelNotFound`, and `BadRequest` for what cannot be trained.
    """
    name = catalog.external.get((principal.tenant, model), model)
    if (base := catalog.bases.get(name)) is not None:
        _refuse_without_adapters(model, base.digest, view)
        return Trainable(base.name, None)
    version = version_of(principal, model, name, catalog)
    if version.quarantined is not None:
        raise BadRequest(
            f"The model '{model[:200]}' is {version.name}, which is quarantined ({version.quarantined[:200]}); go on "
            "from another version.",
            param="model",
            code="model_quarantined",
        )
    bases = [base.name for base in catalog.bases.values() if base.digest == version.base_digest]
    if not bases:
        raise ModelNotFound(model)
    _refuse_without_adapters(model, version.base_digest, view)
    return Trainable(bases[0], version.name)


def version_of(principal: Principal, model: str, name: str, catalog: Catalog) -> VersionEntry:
    """The version that `name` refers to, of an adapter of the tenant's that the key is for. Raises `ModelNotFound`, of
    `model`.
    """
    try:
        ref = parse_ref(name, tenant=principal.tenant)
    except InvalidInput:
        raise ModelNotFound(model) from None
    adapter = catalog.adapters.get((ref.tenant, ref.adapter))
    if adapter is None or ref.tenant != principal.tenant or not principal.may_use(ref.adapter):
        raise ModelNotFound(model)
    found = adapter.versions.get(str(ref.version)) if ref.version else adapter.aliases.get(ref.alias or "")
    if found is None:
        raise ModelNotFound(model)
    return found


def _refuse_without_adapters(model: str, base_digest: str, view: FleetView) -> None:
    """While engines serve the base and none of them can generate with an adapter of it, what is trained is of no use.
    Of a base that nothing serves now nobody can tell.
    """
    engines = view.of_base(base_digest)
    if engines and not any(
        engine.base_of_adapters == base_digest and "completions" not in engine.status.missing for engine in engines
    ):
        raise BadRequest(
            f"The model '{model[:200]}' is not available for fine-tuning: the engines that serve it generate no text "
            "with adapters.",
            param="model",
            code="model_not_available",
        )
