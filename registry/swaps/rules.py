"""What may be asked of a swap: which version a rollback means, which arms a split can have, what is refused and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.effect_proof import LEAST_EFFECT_IN_NOISES
from registry.adapters.proofs import ProofInfo
from registry.adapters.rows import Adapter, AliasEvent, Version
from registry.adapters.version_rows import require_version
from registry.errors import InvalidInput, NotFound
from registry.names import PRODUCTION, AdapterRef, VersionNumber
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.rows import BASE, BASE_ARM


def name_of(session: Session, adapter: Adapter, version_id: int) -> str:
    """`tenant/adapter@1.1`; of `BASE_ARM`, `tenant/adapter@base`."""
    if version_id == BASE_ARM:
        return f"{adapter.tenant}/{adapter.name}@{BASE}"
    version = session.get_one(Version, version_id)
    return f"{adapter.tenant}/{adapter.name}@{version.major}.{version.minor}"


def refuse_quarantined(session: Session, adapter: Adapter, version: Version, param: str) -> None:
    """Raise `InvalidInput` for a version that no engine may have."""
    if version.quarantined:
        raise InvalidInput(
            f"{name_of(session, adapter, version.id)} is quarantined: {version.quarantined}", param=param
        )


def before_top(session: Session, adapter: Adapter, alias: str) -> Version:
    """Where a rollback goes. Raises `NotFound` at the bottom.

    History is read as a stack: moving to the version below the top takes the top away.
    """
    events = session.scalars(
        select(AliasEvent).where(AliasEvent.adapter_id == adapter.id, AliasEvent.alias == alias).order_by(AliasEvent.id)
    )
    stack = _stack_of(event.to_version_id for event in events)
    if len(stack) < 2:
        raise NotFound(f"{adapter.tenant}/{adapter.name}@{alias} has no earlier version to go back to", param="alias")
    return session.get_one(Version, stack[-2])


def _stack_of(moves: Iterable[int]) -> list[int]:
    """Version ids from the oldest to the current one, without those that were rolled back."""
    stack: list[int] = []
    for version_id in moves:
        if stack[-1:] == [version_id]:
            continue
        if stack[-2:-1] == [version_id]:
            stack.pop()
        else:
            stack.append(version_id)
    return stack


def check_weights(ref: AdapterRef, alias: str, weights: Mapping[str, int]) -> None:
    """Raise `InvalidInput` unless these are two versions at least whose weights sum to 10,000."""
    if list(weights.values()) == [FULL_WEIGHT]:
        to_alias = "" if alias == PRODUCTION else f" --alias {alias}"
        raise InvalidInput(
            f"a split is between two versions at least; to give {next(iter(weights))} all of the traffic, "
            f"`switchyard adapters promote {ref.adapter_name}@{next(iter(weights))}{to_alias}`",
            param="weights",
        )
    if len(weights) < 2 or any(weight < 0 for weight in weights.values()) or sum(weights.values()) != FULL_WEIGHT:
        given = ", ".join(f"{version} {weight / 100:g} %" for version, weight in weights.items())
        raise InvalidInput(
            f"weights are {given or 'none'}, {sum(weights.values()) / 100:g} % together; give at least two versions "
            f"and weights that sum to 100 % ({FULL_WEIGHT} in the admin API, which has them in 1/10,000)",
            param="weights",
        )


Weighed = tuple[Version | None, int]
"""An arm, `None` for the base, and its weight."""


def versions_of(session: Session, adapter: Adapter, ref: AdapterRef, weights: Mapping[str, int]) -> list[Weighed]:
    """The versions by number that `{"base": 500, "1.0": 8500, "1.1": 1000}` means, with weights: the base first, the
    others in the order of their numbers.

    Raises `InvalidInput` for what is no number or is quarantined, and `NotFound`.
    """
    numbers = sorted(VersionNumber.parse(text) for text in weights if text != BASE)
    rows = [require_version(session, adapter, AdapterRef(ref.tenant, ref.adapter, number, None)) for number in numbers]
    for row in rows:
        refuse_quarantined(session, adapter, row, "weights")
    of_base: list[Weighed] = [(None, weights[BASE])] if BASE in weights else []
    return of_base + [(row, weights[str(number)]) for row, number in zip(rows, numbers, strict=True)]


def why_indistinguishable(name: str, proof: ProofInfo) -> str:
    """The refusal of a version whose proven effect is lost in the noise."""
    return (
        f"{name} is indistinguishable from its base: its proof's largest effect is {proof.largest_effect:.3f} nats, "
        f"less than {LEAST_EFFECT_IN_NOISES:g} times the noise of {proof.noise:g}; train it longer, prove it on texts "
        f"of its own task with `switchyard adapters prove {name} --texts FILE.jsonl`, or say --allow-indistinguishable"
    )
