"""What may be asked of a swap: which arms a split can have, what is refused and why."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from registry.adapters.effect_proof import LEAST_EFFECT_IN_NOISES
from registry.adapters.proofs import ProofInfo
from registry.adapters.rows import Adapter, Version
from registry.adapters.version_rows import require_version
from registry.errors import InvalidInput
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
