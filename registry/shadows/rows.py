"""Shadows, what they have used and counted, their pairs, and what judges said of these."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.adapters.rows
import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base, BigId, one_at_a_time, partial_index

REQUEST_ID_CHARS = 64
"""The most that a request's id has."""


class Shadow(Base):
    """Copies of an alias's requests to a candidate. One row may be active (`ended_at_ms` NULL) an alias."""

    __tablename__ = "shadows"
    __table_args__ = (one_at_a_time("uq_shadows_running", "ended_at_ms", "adapter_id", "alias"),)
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    adapter_id: Mapped[int] = mapped_column(ForeignKey("adapters.id"), index=True)
    alias: Mapped[str] = mapped_column(String(63))
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id"))
    share: Mapped[int]
    """Of the alias's requests that are copied, in 1/10,000."""
    requests_per_day: Mapped[int]
    budget_nano: Mapped[int | None]
    """For all of its copies; `NULL`: no bound in dollars."""
    until_ms: Mapped[int]
    experiment_id: Mapped[int | None]
    """The experiment whose plan has begun it; `NULL`: a person has."""
    actor: Mapped[str] = mapped_column(String(100))
    started_at_ms: Mapped[int]
    ended_at_ms: Mapped[int | None]
    ended_why: Mapped[str | None] = mapped_column(String(200))


class ShadowDay(Base):
    """What a shadow has used on a UTC day."""

    __tablename__ = "shadow_days"
    shadow_id: Mapped[int] = mapped_column(ForeignKey("shadows.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    taken: Mapped[int]
    """Copies that workers were allowed to send."""
    spent_nano: Mapped[int]
    """What the copies that were sent have cost."""


class ShadowCount(Base):
    """How many of the requests that were to be copied came to this: `paired`, or why a side is missing."""

    __tablename__ = "shadow_counts"
    shadow_id: Mapped[int] = mapped_column(ForeignKey("shadows.id", ondelete="CASCADE"), primary_key=True)
    cause: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int]


class ShadowPair(Base):
    """Two answers to one request, by its id; one is missing, or broken off, where there is a `cause`."""

    __tablename__ = "shadow_pairs"
    __table_args__ = (Index("ix_shadow_pairs_tenant_at", "tenant", "at_ms", "content_bytes"),)
    shadow_id: Mapped[int] = mapped_column(ForeignKey("shadows.id", ondelete="CASCADE"), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(REQUEST_ID_CHARS), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"))
    at_ms: Mapped[int]
    endpoint: Mapped[str] = mapped_column(String(40))
    cause: Mapped[str | None] = mapped_column(String(40))
    control: Mapped[dict[str, Any]]
    """`registry.shadows.pairs.AnswerFigures`: figures alone, never texts."""
    candidate: Mapped[dict[str, Any]]
    diff: Mapped[dict[str, Any]]
    """`registry.shadows.pairs.Diff`; empty without two whole answers."""
    content: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Sealed: the request and both answers; `NULL`: only figures are kept."""
    content_bytes: Mapped[int]


class PairVerdict(Base):
    """What a judge said of a pair, asked in both orders."""

    __tablename__ = "pair_verdicts"
    __table_args__ = (partial_index("ix_pair_verdicts_waiting", "shadow_id", "judge", "at_ms", while_null="taken_in"),)
    shadow_id: Mapped[int] = mapped_column(ForeignKey("shadows.id", ondelete="CASCADE"), primary_key=True)
    request_id: Mapped[str] = mapped_column(String(REQUEST_ID_CHARS), primary_key=True)
    judge: Mapped[str] = mapped_column(String(200), primary_key=True)
    at_ms: Mapped[int]
    candidate_first: Mapped[str] = mapped_column(String(10))
    """Whom it preferred when it was shown the candidate's answer first: `candidate`, `control`, or `tie`."""
    control_first: Mapped[str] = mapped_column(String(10))
    """Likewise when the control's came first."""
    taken_in: Mapped[bool | None]
    """NULL: an experiment whose judge this is has not looked at it yet (`registry.experiments.judged`)."""
    verdict: Mapped[str] = mapped_column(String(10))
    """`candidate` or `control` where both orders agree, else `tie`."""
