"""Votes: cast, taken back, read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from sqlalchemy import delete, func, select

from registry.db import Database, now_ms
from registry.errors import Conflict, InvalidInput
from registry.tenants.store import require_tenant
from registry.upsert import upsert
from registry.votes.rows import PairVote

Side = Literal["a", "b"]
Winner = Literal["a", "b", "tie"]
MOST_VOTES = 100_000
"""Of one comparison."""
MOST_VOTER_CHARACTERS = 100
MOST_KEY_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Vote:
    """Of one person on one pair; `left` is the side that stood on the left."""

    pair: str
    voter: str
    winner: Winner
    left: Side
    at_ms: int


class Votes:
    """Of all comparisons of all tenants."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def cast(self, tenant: str, comparison: str, pair: str, voter: str, winner: Winner, left: Side) -> Vote:
        """A later vote of the same person on the same pair takes the place of the earlier one. Raises `InvalidInput`,
        `NotFound` for a tenant that there is not, and `Conflict` when there are too many.
        """
        _check(comparison, pair, winner, left)
        vote = Vote(pair, check_voter(voter), winner, left, now_ms())
        row = {"tenant": tenant, "comparison": comparison, "pair": pair, "voter": voter, "winner": winner}
        with self._db.write() as session:
            require_tenant(session, tenant)
            mine = (PairVote.tenant == tenant, PairVote.comparison == comparison)
            if (session.scalar(select(func.count()).where(*mine)) or 0) >= MOST_VOTES:
                raise Conflict(f"there are {MOST_VOTES} votes on this comparison, and no room for more", param="vote")
            whole = {**row, "left_side": left, "at_ms": vote.at_ms}
            upsert(session, PairVote, [whole], replace=("winner", "left_side", "at_ms"))
        return vote

    def take_back(self, tenant: str, comparison: str, pair: str, voter: str) -> bool:
        """As if it had not been cast; False when it was not."""
        key = {"tenant": tenant, "comparison": comparison, "pair": pair, "voter": voter}
        with self._db.write() as session:
            found = session.execute(delete(PairVote).filter_by(**key).returning(PairVote.pair))
            return found.first() is not None

    def of(self, tenant: str, comparison: str) -> list[Vote]:
        """In the order in which they were cast."""
        query = select(PairVote).filter_by(tenant=tenant, comparison=comparison)
        with self._db.read() as session:
            rows = session.scalars(query.order_by(PairVote.at_ms, PairVote.pair, PairVote.voter))
            return [
                Vote(row.pair, row.voter, cast("Winner", row.winner), cast("Side", row.left_side), row.at_ms)
                for row in rows
            ]


def check_voter(voter: str, param: str = "voter") -> str:
    """The name, if it is one. Raises `InvalidInput`."""
    if not 0 < len(voter.strip()) <= len(voter) <= MOST_VOTER_CHARACTERS or not voter.isprintable():
        raise InvalidInput(
            f"{param} is {voter[:40]!r}; a name has 1 to {MOST_VOTER_CHARACTERS} characters that can be seen",
            param=param,
        )
    return voter


def _check(comparison: str, pair: str, winner: str, left: str) -> None:
    for param, key in (("comparison", comparison), ("pair", pair)):
        if not 0 < len(key) <= MOST_KEY_CHARACTERS:
            raise InvalidInput(f"{param} has {len(key)} characters; 1 to {MOST_KEY_CHARACTERS} are right", param=param)
    for param, value, known in (("winner", winner, get_args(Winner)), ("left", left, get_args(Side))):
        if value not in known:
            raise InvalidInput(f"{param} is {value[:40]!r}; choose from {', '.join(known)}", param=param)
