"""Model name → target. First the tenant's own mapping, then base models, then the tenant's adapters."""

from __future__ import annotations

from gateway.errors import MissingScope, ModelNotFound, Quarantined
from gateway.handoffs import Arm, Assignment, Principal, Target
from gateway.splits.assignment import draw_of
from registry.catalog.snapshot import BaseEntry, Catalog, SplitArm, SplitEntry, VersionEntry
from registry.errors import InvalidInput
from registry.names import parse_ref

MOST_TARGETS = 10_000


class Targets:
    """What names stand for, found out once for each key while a catalog is in force."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._by_key: dict[tuple[str, str], Target] = {}

    def of(self, principal: Principal, model: str, catalog: Catalog) -> Target:
        """As `resolve`."""
        if catalog is not self._catalog or len(self._by_key) >= MOST_TARGETS:
            self._catalog = catalog
            self._by_key.clear()
        key = (principal.key_id, model)
        target = self._by_key.get(key)
        if target is None:
            target = self._by_key[key] = resolve(principal, model, catalog)
        return target


def resolve(principal: Principal, model: str, catalog: Catalog) -> Target:
    """What `model` stands for, for this tenant.

    Raises `ModelNotFound` for what is not this tenant's (whether or not it exists) or not for this key,
    `MissingScope` for a base model without the scope, `Quarantined` for such a version: never another model instead.
    """
    mapped_to = catalog.external.get((principal.tenant, model))
    name = mapped_to or model
    base = catalog.bases.get(name)
    if base is not None:
        return _resolve_base(principal, model, mapped_to, base)
    try:
        ref = parse_ref(name, tenant=principal.tenant)
    except InvalidInput:
        raise ModelNotFound(model) from None
    adapter = catalog.adapters.get((ref.tenant, ref.adapter))
    if adapter is None or ref.tenant != principal.tenant or "inference" not in principal.scopes:
        raise ModelNotFound(model)
    if not principal.may_use(ref.adapter):
        raise ModelNotFound(model)
    if ref.version is not None:
        version, split, shadow = adapter.versions.get(str(ref.version)), None, None
    else:
        assert ref.alias is not None
        version, split = adapter.aliases.get(ref.alias), adapter.splits.get(ref.alias)
        shadow = adapter.shadows.get(ref.alias)
    if version is None:
        raise ModelNotFound(model)
    if version.quarantined is not None and split is None:
        raise Quarantined(version.name, version.quarantined)
    target = Target(model, mapped_to, None, version, ref.alias, split, shadow, adapter.checks)
    if split is None:
        return target._replace(unassigned=Arm(version.name, version.base_digest, version))
    return _with_arms(target, version, split)


def _with_arms(target: Target, version: VersionEntry, split: SplitEntry) -> Target:
    """With all arms as requests get them, so that none has to make its own."""
    arms = [(until, _arm(arm, version, Assignment(split.id, arm.name, arm.share))) for until, arm in split.ranges]
    draw = draw_of(split.salt, arms, split.policy)
    if split.policy is None:
        return target._replace(draw=draw)
    control = split.policy.control
    unassigned = Arm(control.public_name, control.base_digest, control.version)
    return target._replace(draw=draw, unassigned=unassigned)


def _arm(arm: SplitArm, through: VersionEntry, assignment: Assignment) -> Arm:
    base_of = through if arm.version is None else None
    return Arm(arm.public_name, arm.base_digest, arm.version, assignment, base_of)


def _resolve_base(principal: Principal, model: str, mapped_to: str | None, base: BaseEntry) -> Target:
    if "base" not in principal.scopes:
        raise MissingScope(f"This key may not use the base model '{base.name}'", "base", param="model")
    return Target(model, mapped_to, base, None, None, None, unassigned=Arm(base.name, base.digest))
