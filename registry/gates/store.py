"""Gates of adapters' aliases, and certificates of their versions."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from registry.adapters.rows import Adapter, Alias, Version
from registry.adapters.version_rows import require_adapter, require_version
from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.gates.certificate import Finding, certify
from registry.gates.policy import Policy
from registry.gates.rows import Certificate, Gate
from registry.gates.rules import certificates_of
from registry.names import PRODUCTION, AdapterRef, check_name
from registry.tenants.actions import record_action
from registry.tenants.store import of_a_tenant
from registry.verdicts import GateWord, gate_word


@dataclass(frozen=True, slots=True)
class GateInfo:
    """A gate as it can be listed."""

    adapter: str
    alias: str
    policy: Policy
    digest: str
    actor: str
    set_at_ms: int


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """One evaluation on record. `verdict` is passed, failed, undecided, or measured where no gate was set.

    `document` is what `digest` names.
    """

    digest: str
    candidate: str
    verdict: GateWord
    document: dict[str, Any]
    actor: str
    made_at_ms: int


class Gates:
    """The gates and certificates of all adapters."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def set(self, ref: AdapterRef, policy: Policy, *, alias: str = PRODUCTION, actor: str) -> GateInfo:
        """Ask for this of whatever is to be the alias's next version; what is there stays. Raises `NotFound`."""
        check_name(alias, "alias")
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            facts = {"digest": policy.digest, "document": policy.document, "actor": actor[:100], "set_at_ms": now_ms()}
            row = Gate(adapter_id=adapter.id, alias=alias, **facts)
            if not session.add_new(row):
                row = session.get_one(Gate, (adapter.id, alias), with_for_update=True)
                for name, value in facts.items():
                    setattr(row, name, value)
            record_action(session, actor, "gate.set", ref.tenant, f"{ref.adapter_name}@{alias}", **policy.document)
            return _gate_info(adapter, row)

    def clear(self, ref: AdapterRef, *, alias: str = PRODUCTION, actor: str) -> GateInfo:
        """Let the alias move without a certificate again. Raises `NotFound` where no gate is set."""
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            row = session.get(Gate, (adapter.id, alias), with_for_update=True)
            if row is None:
                raise NotFound(f"{ref.adapter_name}@{alias} has no gate", param="alias")
            info = _gate_info(adapter, row)
            session.delete(row)
            record_action(session, actor, "gate.cleared", ref.tenant, f"{ref.adapter_name}@{alias}", **row.document)
            return info

    def all(self, ref: AdapterRef | None = None) -> list[GateInfo]:
        """Of one adapter or of all, by name."""
        query = select(Adapter, Gate).join(Gate, Gate.adapter_id == Adapter.id).where(of_a_tenant(Adapter.tenant))
        with self._db.read() as session:
            if ref is not None:
                query = query.where(Adapter.id == require_adapter(session, ref).id)
            rows = session.execute(query.order_by(Adapter.tenant, Adapter.name, Gate.alias)).all()
            return [_gate_info(adapter, row) for adapter, row in rows]

    def policy(self, ref: AdapterRef, alias: str = PRODUCTION) -> Policy | None:
        """What the alias's gate asks for, if it has one. Raises `NotFound` without the adapter."""
        with self._db.read() as session:
            row = session.get(Gate, (require_adapter(session, ref).id, alias))
            return None if row is None else Policy.of(row.document)

    def record(
        self, ref: AdapterRef, finding: Finding, *, alias: str = PRODUCTION, wish: Policy | None = None, actor: str
    ) -> CertificateInfo:
        """Write down what was found of the version that `ref` names, with the verdict of the alias's gate as it is now.

        `wish` judges it where no gate is set; nothing has to pass it. The same finding twice is one
        certificate. Raises `NotFound`, and `InvalidInput` for a finding about another
        version.
        """
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            version = require_version(session, adapter, ref)
            if version.manifest_digest != finding.candidate.digest:
                raise InvalidInput(f"candidate is {finding.candidate.model!r}, not {ref}", param="candidate")
            gate = session.get(Gate, (adapter.id, alias), with_for_update=True)
            policy = wish if gate is None else Policy.of(gate.document)
            made = certify(finding, policy)
            row = Certificate(
                digest=made.digest,
                adapter_id=adapter.id,
                candidate_digest=version.manifest_digest,
                incumbent_digest=finding.incumbent.digest,
                gate_digest=None if policy is None else policy.digest,
                verdict=made.verdict.word,
                document=made.bytes.decode(),
                actor=actor[:100],
                made_at_ms=now_ms(),
            )
            if not session.add_new(row):
                row = session.scalars(select(Certificate).where(Certificate.digest == made.digest)).one()
            return _certificate_info(row)

    def certificates(self, ref: AdapterRef) -> list[CertificateInfo]:
        """Of the version that `ref` names, newest first. Raises `NotFound`."""
        with self._db.read() as session:
            version = require_version(session, require_adapter(session, ref), ref)
            return [_certificate_info(row) for row in certificates_of(session, version, documents=True)]

    def certificate(self, digest: str) -> CertificateInfo:
        """By its digest, or the beginning of it that nothing else has. Raises `NotFound`."""
        whole = digest if digest.startswith("sha256:") else f"sha256:{digest}"
        query = select(Certificate).where(Certificate.digest.startswith(whole, autoescape=True)).limit(2)
        with self._db.read() as session:
            found = session.scalars(query).all()
            if len(found) != 1:
                raise NotFound(
                    f"there is no certificate {digest[:80]!r}, or several; `switchyard gates show` lists them",
                    param="certificate",
                )
            return _certificate_info(found[0])

    def standings(self, version_ids: Collection[int] | None = None, alias: str = PRODUCTION) -> dict[int, str]:
        """In one word what the alias's gate says to each version, or to all that there are: `in place` to what the
        alias points at, `passed`, `failed`, `undecided`, `stale`, or `none` without a certificate. Versions of
        adapters without a gate are left out.
        """
        incumbent = aliased(Version)
        made = (Certificate.candidate_digest == Version.manifest_digest, Certificate.adapter_id == Adapter.id)
        fitting = (
            select(Certificate.verdict)
            .where(*made, Certificate.gate_digest == Gate.digest)
            .where(Certificate.incumbent_digest.is_not_distinct_from(incumbent.manifest_digest))
            .order_by(Certificate.id.desc())
            .limit(1)
            .correlate(Version, Adapter, Gate, incumbent)
            .scalar_subquery()
        )
        any_at_all = select(Certificate.id).where(*made).correlate(Version, Adapter).exists()
        query = (
            select(Version.id, incumbent.id, fitting, any_at_all)
            .join(Adapter, Adapter.id == Version.adapter_id)
            .join(Gate, (Gate.adapter_id == Adapter.id) & (Gate.alias == alias))
            .outerjoin(Alias, (Alias.adapter_id == Adapter.id) & (Alias.name == alias))
            .outerjoin(incumbent, incumbent.id == Alias.version_id)
        )
        if version_ids is not None:
            query = query.where(Version.id.in_(version_ids))
        with self._db.read() as session:
            return {
                id_: _standing(verdict, has_any, in_place=id_ == in_place)
                for id_, in_place, verdict, has_any in session.execute(query)
            }


def _standing(verdict: str | None, has_any: bool, *, in_place: bool) -> str:
    if in_place:
        return "in place"
    if verdict is None:
        return "stale" if has_any else "none"
    return gate_word(verdict)


def _gate_info(adapter: Adapter, row: Gate) -> GateInfo:
    policy = Policy.of(row.document)
    return GateInfo(f"{adapter.tenant}/{adapter.name}", row.alias, policy, row.digest, row.actor, row.set_at_ms)


def _certificate_info(row: Certificate) -> CertificateInfo:
    document = json.loads(row.document)
    candidate = str(document["candidate"]["model"])
    return CertificateInfo(row.digest, candidate, gate_word(row.verdict), document, row.actor, row.made_at_ms)
