"""Ballots: pairs of answers that are put up for people to vote on, wherever they sit.

Who votes sees a question and two answers, and says left or right; which model stood where is known here alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

import orjson
from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import Session

from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound
from registry.responses.sealing import Keyring
from registry.tenants.store import require_tenant
from registry.upsert import upsert
from registry.votes.agreement import Agreement, agreements, by_majority
from registry.votes.rows import Ballot, BallotPair, PairVote
from registry.votes.store import Side, Vote, Votes, Winner, check_voter

Preferred = Literal["left", "right", "tie"]
CONTENT = "ballot"
MOST_PAIRS = 2_000
"""Of one ballot."""
MOST_SHOWN_BYTES = 256 * 1024
"""Of one pair: its question and both answers."""
MOST_NAME_CHARACTERS = 200
BATCH = 200
"""Pairs that are sealed anew in one transaction."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a voter sees of a pair: no name, and no side."""

    question: str
    left: str
    right: str
    reference: str | None = None
    """A right answer, where the prompts have one."""


@dataclass(frozen=True, slots=True)
class NewPair:
    """A pair to be put up. `unit` is the same for all turns of one conversation, which stand together."""

    pair: str
    unit: str
    left: Side
    shown: Shown


@dataclass(frozen=True, slots=True)
class BallotInfo:
    """A ballot as operators see it: who votes is told neither `a` nor `b`."""

    tenant: str
    comparison: str
    a: str
    b: str
    pairs: int
    actor: str
    put_up_at_ms: int
    voters: Mapping[str, int]
    """Who has voted → on how many of its pairs."""


@dataclass(frozen=True, slots=True)
class NextPair:
    """The next pair for one voter; `pair` is None when there is no more. `done` of `pairs` have a vote of his."""

    done: int
    pairs: int
    pair: str | None = None
    place: int | None = None
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class BallotResult:
    """What people have said. `winners` are those of conversations, in the order in which they are shown: 1 if B won
    more pairs of it than A, -1 if fewer, 0 if as many; those of which nothing was said are left out.
    """

    info: BallotInfo
    votes: int
    winners: tuple[int, ...]
    left_preferred: float | None
    """The share of votes for what stood on the left, ties left out: about one half. None without any."""
    agreements: tuple[Agreement, ...]


class Ballots:
    """Those of all tenants."""

    def __init__(self, db: Database, keyring: Keyring) -> None:
        self._db = db
        self._keyring = keyring
        self._votes = Votes(db)

    def put_up(
        self, tenant: str, comparison: str, models: tuple[str, str], pairs: Sequence[NewPair], *, actor: str
    ) -> BallotInfo:
        """These pairs instead of those that were up; votes on what stays count on. `models` are A and B.

        Raises `InvalidInput` for too many pairs or too long ones, and `NotFound` for a tenant that there is not.
        """
        if not 0 < len(pairs) <= MOST_PAIRS:
            raise InvalidInput(f"pairs are {len(pairs)}; a ballot has 1 to {MOST_PAIRS}", param="pairs")
        rows = [self._row(tenant, comparison, place, one) for place, one in enumerate(pairs, 1)]
        with self._db.write() as session:
            require_tenant(session, tenant)
            a, b = (name[:MOST_NAME_CHARACTERS] for name in models)
            ballot = {"tenant": tenant, "comparison": comparison, "a": a, "b": b, "actor": actor[:100]}
            upsert(session, Ballot, [{**ballot, "put_up_at_ms": now_ms()}], replace=("a", "b", "actor", "put_up_at_ms"))
            session.execute(delete(BallotPair).filter_by(tenant=tenant, comparison=comparison))
            upsert(session, BallotPair, rows)
            return _info(session, _found(session, tenant, comparison))

    def _row(self, tenant: str, comparison: str, place: int, one: NewPair) -> dict[str, object]:
        written = orjson.dumps(asdict(one.shown))
        if len(written) > MOST_SHOWN_BYTES:
            raise InvalidInput(
                f"pairs has one of {len(written)} bytes, {one.pair}; the most is {MOST_SHOWN_BYTES}: leave that prompt "
                "out, or ask for shorter answers",
                param="pairs",
            )
        sealed = self._keyring.seal(written, tenant, comparison, one.pair, CONTENT)
        return {
            "tenant": tenant,
            "comparison": comparison,
            "pair": one.pair,
            "place": place,
            "unit": one.unit,
            "left_side": one.left,
            "content": sealed,
        }

    def take_down(self, tenant: str, comparison: str) -> None:
        """Forget what was shown; votes stay. Raises `NotFound`."""
        with self._db.write() as session:
            session.delete(_found(session, tenant, comparison))
            session.execute(delete(BallotPair).filter_by(tenant=tenant, comparison=comparison))

    def reseal(self) -> int:
        """Write anew what was not sealed with the first key; how many. Raises `Unreadable`."""
        changed, last = 0, ("", "", "")
        key = BallotPair.tenant, BallotPair.comparison, BallotPair.pair
        while True:
            query = select(BallotPair).where(tuple_(*key) > last).order_by(*key).limit(BATCH)
            with self._db.write() as session:
                rows = session.scalars(query).all()
                for row in rows:
                    last = row.tenant, row.comparison, row.pair
                    if not self._keyring.is_current(row.content):
                        place = row.comparison, row.pair, CONTENT
                        value = self._keyring.open(row.content, row.tenant, *place)
                        row.content = self._keyring.seal(value, row.tenant, *place)
                        changed += 1
            if len(rows) < BATCH:
                return changed

    def page(self, after: tuple[str, str] | None, limit: int, *, tenant: str | None = None) -> list[BallotInfo]:
        """By tenant and comparison, those after `after`."""
        query = select(Ballot).order_by(Ballot.tenant, Ballot.comparison).limit(limit)
        if tenant is not None:
            query = query.where(Ballot.tenant == tenant)
        if after is not None:
            behind = (Ballot.tenant == after[0]) & (Ballot.comparison > after[1])
            query = query.where((Ballot.tenant > after[0]) | behind)
        with self._db.read() as session:
            return [_info(session, row) for row in session.scalars(query)]

    def next(self, tenant: str, comparison: str, voter: str, after: int = 0) -> NextPair:
        """The first pair behind the place `after` that he has not voted on, else the first of all such ones.

        Raises `NotFound`, `InvalidInput`, `Unreadable`.
        """
        check_voter(voter)
        with self._db.read() as session:
            pairs = _info(session, _found(session, tenant, comparison)).pairs
            mine = select(PairVote.pair).filter_by(tenant=tenant, comparison=comparison, voter=voter)
            open_pairs = (
                select(BallotPair)
                .filter_by(tenant=tenant, comparison=comparison)
                .where(BallotPair.pair.not_in(mine))
                .order_by(BallotPair.place <= after, BallotPair.place)
            )
            done = pairs - (session.scalar(select(func.count()).select_from(open_pairs.subquery())) or 0)
            row = session.scalars(open_pairs.limit(1)).first()
            if row is None:
                return NextPair(done, pairs)
            shown = Shown(**orjson.loads(self._keyring.open(row.content, tenant, comparison, row.pair, CONTENT)))
            return NextPair(done, pairs, row.pair, row.place, shown)

    def vote(self, tenant: str, comparison: str, pair: str, voter: str, preferred: Preferred) -> Vote:
        """What he says of a pair; a later vote takes the place of an earlier one. Raises `NotFound`, `InvalidInput`."""
        if preferred not in get_args(Preferred):
            raise InvalidInput(
                f"preferred is {str(preferred)[:40]!r}; choose from {', '.join(get_args(Preferred))}", param="preferred"
            )
        with self._db.read() as session:
            row = session.get(BallotPair, (tenant, comparison, pair))
            if row is None:
                _found(session, tenant, comparison)
                raise NotFound(f"pair is {pair[:64]!r}, which is not on this ballot; get the next one", param="pair")
            left = cast("Side", row.left_side)
        return self._votes.cast(tenant, comparison, pair, voter, winner_of(preferred, left), left)

    def result(self, tenant: str, comparison: str) -> BallotResult:
        """What was said so far. Raises `NotFound`."""
        with self._db.read() as session:
            info = _info(session, _found(session, tenant, comparison))
            rows = session.execute(
                select(BallotPair.pair, BallotPair.unit)
                .filter_by(tenant=tenant, comparison=comparison)
                .order_by(BallotPair.place)
            )
            units = [(str(pair), str(unit)) for pair, unit in rows]
        shown = {pair for pair, _ in units}
        votes = [vote for vote in self._votes.of(tenant, comparison) if vote.pair in shown]
        said: dict[str, dict[str, Winner]] = {}
        for vote in votes:
            said.setdefault(vote.voter, {})[vote.pair] = vote.winner
        pointed = [vote.winner == vote.left for vote in votes if vote.winner != "tie"]
        return BallotResult(
            info,
            len(votes),
            _by_unit(units, votes),
            sum(pointed) / len(pointed) if pointed else None,
            tuple(agreements(said)),
        )


def winner_of(preferred: Preferred, left: Side) -> Winner:
    """The side that stands where a voter points."""
    if preferred == "tie":
        return "tie"
    right: Side = "b" if left == "a" else "a"
    return left if preferred == "left" else right


def _by_unit(units: Sequence[tuple[str, str]], votes: Sequence[Vote]) -> tuple[int, ...]:
    by_pair: dict[str, list[Winner]] = {}
    for vote in votes:
        by_pair.setdefault(vote.pair, []).append(vote.winner)
    lead: dict[str, int] = {}
    for pair, unit in units:
        winner = by_majority(by_pair.get(pair, ()))
        if winner is not None:
            lead[unit] = lead.get(unit, 0) + (winner == "b") - (winner == "a")
    return tuple((one > 0) - (one < 0) for one in lead.values())


def _found(session: Session, tenant: str, comparison: str) -> Ballot:
    row = session.get(Ballot, (tenant, comparison))
    if row is None:
        raise NotFound(
            f"there is no ballot {comparison[:64]!r} of {tenant!r}; `switchyard experiments compare … --ballot` puts "
            "one up",
            param="comparison",
        )
    return row


def _info(session: Session, row: Ballot) -> BallotInfo:
    key = {"tenant": row.tenant, "comparison": row.comparison}
    pairs = session.scalar(select(func.count()).select_from(BallotPair).filter_by(**key)) or 0
    here = select(BallotPair.pair).filter_by(**key)
    voters = session.execute(
        select(PairVote.voter, func.count())
        .filter_by(**key)
        .where(PairVote.pair.in_(here))
        .group_by(PairVote.voter)
        .order_by(PairVote.voter)
    )
    return BallotInfo(
        row.tenant,
        row.comparison,
        row.a,
        row.b,
        pairs,
        row.actor,
        row.put_up_at_ms,
        {str(voter): int(number) for voter, number in voters},
    )
