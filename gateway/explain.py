"""`switchyard explain`: the first steps of the request path, told one by one, with the same functions that serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import ApiError
from gateway.handoffs import Target, Unit
from gateway.steps.assign import assign
from gateway.steps.authenticate import authenticate
from gateway.steps.resolve import resolve
from registry.catalog.snapshot import Catalog, SplitPolicy
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.skew import SplitSkew

_SOURCES = {
    "conversation": "a conversation is known by X-Switchyard-Unit, else metadata.conversation_id, else its first turn "
    "or its whole prompt",
    "end_user": "an end user is known by safety_identifier, else user; a request without goes by its conversation",
    "request": "each request is drawn for itself",
    "window": "all requests that come in one window of time are one unit, window:NUMBER",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found. `ok` is false for the step that refuses; no step follows it."""

    step: str
    found: str
    ok: bool = True


def explain(
    model: str, key: str, unit: str | None, catalog: Catalog, skew_of: Callable[[int], SplitSkew | None]
) -> list[Step]:
    """The steps that a request for `model` with `key` goes through, up to the version that answers.

    `skew_of` knows what is wrong with the traffic of a split, by its id.
    """
    steps: list[Step] = []
    try:
        principal = authenticate(key, catalog)
        scopes = ", ".join(sorted(principal.scopes))
        only = "" if principal.adapters is None else f", for {', '.join(sorted(principal.adapters))} alone"
        found = f"key {principal.key_id} of tenant {principal.tenant!r}, scopes {scopes}{only}"
        steps.append(Step("authenticate", found))
        target = resolve(principal, model, catalog)
    except ApiError as error:
        refusing = "resolve" if steps else "authenticate"
        steps.append(Step(refusing, f"HTTP {error.status} {error.code}: {error.message}", ok=False))
        return steps
    steps.append(Step("resolve", _how_resolved(model, target)))
    steps.append(Step("assign", _how_assigned(target, unit, principal.key_id)))
    if target.split is not None and (skew := skew_of(target.split.id)) is not None:
        steps.append(Step("warning", str(skew)))
    if target.version is not None and target.split is None:
        steps.append(Step("version", f"manifest {target.version.manifest_digest}, base {target.version.base_digest}"))
    return steps


def _how_resolved(model: str, target: Target) -> str:
    mapped = f"the tenant maps {model!r} to {target.mapped_to!r}; " if target.mapped_to else ""
    if target.base is not None:
        return f"{mapped}base model {target.base.name!r} ({target.base.digest})"
    assert target.version is not None
    name = f"{target.version.tenant}/{target.version.adapter}"
    if target.alias is None:
        return f"{mapped}version {target.version.name}, named directly"
    return f"{mapped}alias {name}@{target.alias}, which points at {target.version.name}"


def _how_assigned(target: Target, unit: str | None, key_id: str) -> str:
    if target.split is None:
        return f"{target.base.name if target.base else target.version and target.version.name} (not split)"
    split = target.split
    arms = ", ".join(f"{arm.name} {arm.weight / 100:g} %" for arm in split.arms)
    said = f"split {split.id}: {arms}{_of_experiment(split.policy)}"
    if unit is None:
        known_by = _SOURCES[split.policy.unit if split.policy else "conversation"]
        return f"{said}; {known_by} (give --unit to see one's arm)"
    arm, _ = assign(target, Unit(unit, "header"), key_id)
    outside = "" if arm.assignment else ", and is not in the experiment"
    return f"{said}; unit {unit!r} gets {arm.public_name}{outside}"


def _of_experiment(policy: SplitPolicy | None) -> str:
    if policy is None:
        return ""
    parts = [f"by keys {', '.join(sorted(policy.keys))}"] if policy.keys else []
    parts += [f"with metadata {key} {' or '.join(sorted(values))}" for key, values in policy.metadata]
    parts += [f"{policy.audience / 100:g} % of units"] if policy.audience < FULL_WEIGHT else []
    parts += [f"without the {policy.holdout[1] / 100:g} % that are held out"] if policy.holdout[1] else []
    whose = f" for requests {', '.join(parts)}" if parts else ""
    return f", by experiment {policy.experiment_id} ({policy.experiment}){whose}"
