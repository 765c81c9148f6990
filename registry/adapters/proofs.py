"""Which effect proof a version has.

A version is immutable and named by its bytes, so a proof that is measured later is no part of it: it is a blob of its
own, and a row says that it belongs to a manifest. By manifest, not by version: equal bytes have equal effects.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from registry.adapters.effect_proof import EffectProof, is_indistinguishable
from registry.adapters.rows import VersionProof
from registry.db import Database, now_ms
from registry.errors import RegistryError
from registry.upsert import upsert


@dataclass(frozen=True, slots=True)
class ProofInfo:
    """What is known of a proof. Effects and noise are in nats; `digest` is that of the proof's blob."""

    digest: str
    attached: bool
    """Whether it came after the publish, and so is no part of the version's bytes."""
    largest_effect: float
    noise: float
    created_at_ms: int

    @property
    def indistinguishable(self) -> bool:
        """Whether the effect is lost in the noise."""
        return is_indistinguishable(self.largest_effect, self.noise)


def record_proof(
    session: Session, manifest_digest: str, blob_digest: str, proof: EffectProof, *, attached: bool
) -> None:
    """Say, in the caller's transaction, that the proof in a blob is a manifest's; it takes an earlier one's place."""
    known = session.get(VersionProof, manifest_digest)
    if known is not None and known.blob_digest == blob_digest:
        return
    row = {
        "blob_digest": blob_digest,
        "attached": attached,
        "largest_effect": proof.largest_effect,
        "noise": proof.noise,
        "created_at_ms": now_ms(),
    }
    upsert(session, VersionProof, [{"manifest_digest": manifest_digest, **row}], replace=row)
    if known is not None:
        session.expire(known)


def proof_of(session: Session, manifest_digest: str) -> ProofInfo | None:
    """The proof of a manifest's bytes; `None` when there is none."""
    row = session.get(VersionProof, manifest_digest)
    if row is None:
        return None
    return ProofInfo(row.blob_digest, row.attached, row.largest_effect, row.noise, row.created_at_ms)


def attached_proof(db: Database, manifest_digest: str, *, needed: bool) -> str | None:
    """The blob of the proof that was attached to a manifest; `None` without one.

    When the database is away, a folder that was complete before is used as it is (`needed=False`): it may lack a proof
    that is newer than it. A folder that never had its proof looked up must not be used: `RegistryError`.
    """
    try:
        with db.read() as session:
            proof = proof_of(session, manifest_digest)
    except DBAPIError as error:
        if needed:
            raise RegistryError(f"the database cannot be asked for an effect proof: {error.orig}") from error
        return None
    return proof.digest if proof is not None and proof.attached else None
