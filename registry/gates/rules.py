"""Whether a version may be what an alias points at, asked within the transaction that asks for it or does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from registry.adapters.rows import Adapter, Alias, Version
from registry.errors import GateClosed, InvalidInput
from registry.gates.rows import Certificate, Gate
from registry.splits.ranges import FULL_WEIGHT
from registry.splits.rows import BASE, BASE_ARM
from registry.tenants.actions import record_action
from registry.verdicts import gate_word

MOST_UNPROVEN = FULL_WEIGHT // 2
"""Of a split's traffic, for versions without a certificate: an experiment needs no more, and more would be a promotion
by another name."""
MAX_REASON_CHARACTERS = 1_000
MAX_CERTIFICATES = 100
"""Of one version that are looked at."""
PASSED = "passed"
GATE = "gate"
"""In a swap's detail: what let it pass."""
_BASE_LACKS = (
    "a base has no certificate, and the gate of {alias} asks for one above half of the traffic: give it less, or "
    "--override REASON goes without"
)
UNGATED = "it goes back"
"""Of swaps that no gate stops."""


def pass_gate(
    session: Session,
    adapter: Adapter,
    alias: str,
    arms: Sequence[tuple[Version | None, int]],
    override: str | None,
    actor: str,
) -> dict[str, Any]:
    """What the swap's detail says of the gate; empty where there is none, or none is needed.

    `arms` are versions, `None` for the base, with their part of the alias's traffic in 1/10,000. `override` is why it
    may pass all the same, which is recorded with `actor` if it was needed. Raises `GateClosed`, and `InvalidInput` for
    an override that says nothing.
    """
    if override is not None and not 0 < len(override.strip()) <= MAX_REASON_CHARACTERS:
        expected = f"say why the gate does not matter, in 1 to {MAX_REASON_CHARACTERS} characters"
        raise InvalidInput(f"override is {override[:40]!r}; {expected}", param="override")
    gate = session.get(Gate, (adapter.id, alias))
    if gate is None:
        return {}
    row = session.get(Alias, (adapter.id, alias))
    incumbent = session.get_one(Version, row.version_id) if row is not None else None
    passed, lacking, unproven = [], [], 0
    for version, weight in arms:
        if not weight or (incumbent is not None and version is not None and version.id == incumbent.id):
            continue
        if version is None:
            lacking.append(_BASE_LACKS.format(alias=f"{adapter.tenant}/{adapter.name}@{alias}"))
            unproven += weight
            continue
        found = standing(session, adapter, gate, version, incumbent)
        if isinstance(found, Certificate):
            passed.append(found.digest)
        else:
            lacking.append(found)
            unproven += weight
    if unproven <= MOST_UNPROVEN:
        return {GATE: {"certificates": passed}} if passed else {}
    if override is None:
        raise GateClosed(lacking[0], param="version")
    subject = f"{adapter.tenant}/{adapter.name}@{alias}"
    versions = [_name(adapter, version) if version else BASE for version, weight in arms if weight]
    record_action(
        session, actor, "gate.overridden", adapter.tenant, subject, versions=versions, reason=override, lacking=lacking
    )
    return {GATE: {"override": override}}


def pass_gate_still(
    session: Session, adapter_id: int, alias: str, weights: Mapping[int, int], detail: Mapping[str, Any]
) -> None:
    """At the flip: what passed by a certificate, or before there was a gate, passes still. Raises `GateClosed`.

    `weights` are parts of the traffic in 1/10,000 by version, `detail` is the swap's.
    """
    let_by = detail.get(GATE)
    if let_by == UNGATED or (isinstance(let_by, dict) and "override" in let_by):
        return
    arms = [
        (None if version_id == BASE_ARM else session.get_one(Version, version_id), weight)
        for version_id, weight in weights.items()
    ]
    pass_gate(session, session.get_one(Adapter, adapter_id), alias, arms, None, "")


def standing(
    session: Session, adapter: Adapter, gate: Gate, version: Version, incumbent: Version | None
) -> Certificate | str:
    """The certificate that lets the version pass, or one sentence with the remedy.

    Of those against this incumbent by this gate the newest counts: who evaluates until it passes has all of it on
    record, and who finds a fault later closes the gate.
    """
    name, alias = _name(adapter, version), f"{adapter.tenant}/{adapter.name}@{gate.alias}"
    against = gate.alias if incumbent is not None else "base"
    remedy = f"`switchyard evaluate {name} --against {against} --data FILE` makes one; --override REASON goes without"
    all_of_it = certificates_of(session, version)
    if not all_of_it:
        return f"{name} has no certificate, and the gate of {alias} asks for one: {remedy}"
    digest = incumbent.manifest_digest if incumbent is not None else None
    about_it = [one for one in all_of_it if one.incumbent_digest == digest]
    if not about_it:
        now = _name(adapter, incumbent) if incumbent is not None else "nothing"
        return f"the certificate of {name} is stale: it is not about {now}, which {alias} points at now: {remedy}"
    found = next((one for one in about_it if one.gate_digest == gate.digest), None)
    if found is None:
        return f"the certificate of {name} is stale: the gate of {alias} was set or changed since: {remedy}"
    if found.verdict != PASSED:
        word = gate_word(found.verdict)
        return f"{name} has not passed the gate of {alias} ({word}); `switchyard gates show {name}` says why"
    return found


def certificates_of(session: Session, version: Version, *, documents: bool = False) -> list[Certificate]:
    """A version's, newest first. Their documents are long: read with them only for who wants them."""
    query = select(Certificate).where(
        Certificate.candidate_digest == version.manifest_digest, Certificate.adapter_id == version.adapter_id
    )
    if not documents:
        query = query.options(defer(Certificate.document))
    return list(session.scalars(query.order_by(Certificate.id.desc()).limit(MAX_CERTIFICATES)))


def _name(adapter: Adapter, version: Version) -> str:
    return f"{adapter.tenant}/{adapter.name}@{version.major}.{version.minor}"
