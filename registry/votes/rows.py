"""Votes on pairs of answers, and ballots: pairs that are put up to be voted on."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

import registry.tenants.rows  # noqa: F401 - foreign keys
from registry.tables import Base


class PairVote(Base):
    """What one person says of one pair."""

    __tablename__ = "pair_votes"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    comparison: Mapped[str] = mapped_column(String(64), primary_key=True)
    pair: Mapped[str] = mapped_column(String(64), primary_key=True)
    voter: Mapped[str] = mapped_column(String(100), primary_key=True)
    winner: Mapped[str] = mapped_column(String(3))
    """`a`, `b` or `tie`."""
    left_side: Mapped[str] = mapped_column(String(1))
    """Whose answer stood on the left: `a` or `b`."""
    at_ms: Mapped[int]


class Ballot(Base):
    """A comparison whose pairs are put up for people to vote on."""

    __tablename__ = "ballots"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    comparison: Mapped[str] = mapped_column(String(64), primary_key=True)
    a: Mapped[str] = mapped_column(String(200))
    """The model that is A; no voter is told it."""
    b: Mapped[str] = mapped_column(String(200))
    actor: Mapped[str] = mapped_column(String(100))
    put_up_at_ms: Mapped[int]


class BallotPair(Base):
    """One pair of a ballot."""

    __tablename__ = "ballot_pairs"
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name", ondelete="CASCADE"), primary_key=True)
    comparison: Mapped[str] = mapped_column(String(64), primary_key=True)
    pair: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The digest of all that is shown, by which votes name it."""
    place: Mapped[int]
    """From 1, in the order in which voters see them; pairs of one conversation stand together."""
    unit: Mapped[str] = mapped_column(String(64))
    """Of the conversation: the same for all of its turns."""
    left_side: Mapped[str] = mapped_column(String(1))
    """Whose answer stands on the left: `a` or `b`."""
    content: Mapped[bytes]
    """What is shown, sealed as a tenant's responses are."""
