"""Ballots: pairs that are put up without names, in an order that voters cannot see, sealed, and counted with care."""

from __future__ import annotations

import base64
from dataclasses import asdict
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select

from registry.errors import InvalidInput, NotFound
from registry.responses.sealing import Keyring
from registry.service import Registry
from registry.votes.ballots import MOST_SHOWN_BYTES, BallotInfo, Ballots, NewPair, Shown
from registry.votes.rows import BallotPair

KEY = base64.b64encode(b"k" * 32).decode()
MODELS = ("acme/triage@1.0", "acme/triage@1.1")


def pair(number: int, *, unit: str | None = None, question: str = "Where is it?") -> NewPair:
    """One whose left answer is A's, if its number is even."""
    left = "b" if number % 2 else "a"
    shown = Shown(question, f"left {number}", f"right {number}")
    return NewPair(f"p{number}", unit or f"u{number}", left, shown)  # type: ignore[arg-type]


@pytest.fixture
def ballots(registry: Registry) -> Ballots:
    return registry.ballots


def put_up(ballots: Ballots, *pairs: NewPair) -> BallotInfo:
    return ballots.put_up("acme", "c1", MODELS, pairs, actor="kim")


def test_a_voter_sees_pair_after_pair_and_neither_names_nor_sides(ballots: Ballots) -> None:
    put_up(ballots, pair(0), pair(1), pair(2))
    first = ballots.next("acme", "c1", "ann")
    assert (first.pair, first.place, first.done, first.pairs) == ("p0", 1, 0, 3)
    assert asdict(first)["shown"] == {
        "question": "Where is it?",
        "left": "left 0",
        "right": "right 0",
        "reference": None,
    }
    ballots.vote("acme", "c1", "p0", "ann", "left")
    assert ballots.next("acme", "c1", "ann").pair == "p1"
    assert ballots.next("acme", "c1", "ann", after=2).pair == "p2", "a pair that is skipped"
    assert ballots.next("acme", "c1", "ann", after=3).pair == "p1", "comes again at the end"
    assert ballots.next("acme", "c1", "bob").pair == "p0"
    for number in (1, 2):
        ballots.vote("acme", "c1", f"p{number}", "ann", "tie")
    end = ballots.next("acme", "c1", "ann")
    assert (end.pair, end.shown, end.done) == (None, None, 3)


@pytest.mark.parametrize(("preferred", "number"), list(product(("left", "right", "tie"), (0, 1))))
def test_left_and_right_are_votes_for_the_side_that_stood_there(
    registry: Registry, ballots: Ballots, preferred: str, number: int
) -> None:
    put_up(ballots, pair(0), pair(1))
    ballots.vote("acme", "c1", f"p{number}", "ann", preferred)  # type: ignore[arg-type]
    (vote,) = registry.votes.of("acme", "c1")
    left = "b" if number else "a"
    right = "a" if number else "b"
    assert (vote.winner, vote.left) == ({"left": left, "right": right, "tie": "tie"}[preferred], left)


def test_a_conversation_counts_once_by_the_majority_of_voters_and_agreement_is_told(ballots: Ballots) -> None:
    put_up(ballots, pair(0, unit="talk"), pair(2, unit="talk"), pair(4), pair(6))
    for voter, said in {"ann": ("right", "right", "left"), "bob": ("right", "left", "left")}.items():
        for number, preferred in zip((0, 2, 4), said, strict=True):
            ballots.vote("acme", "c1", f"p{number}", voter, preferred)  # type: ignore[arg-type]
    found = ballots.result("acme", "c1")
    assert found.winners == (1, -1), "B wins the conversation, A the other one; of the last nothing was said"
    assert (found.votes, found.info.voters) == (6, {"ann": 3, "bob": 3})
    assert found.left_preferred == 0.5
    (agreement,) = found.agreements
    assert (agreement.judges, agreement.pairs, round(agreement.share, 2)) == (("ann", "bob"), 3, 0.67)


def test_pairs_that_are_put_up_anew_keep_their_votes_and_others_do_not_count(ballots: Ballots) -> None:
    put_up(ballots, pair(0), pair(1))
    for number in (0, 1):
        ballots.vote("acme", "c1", f"p{number}", "ann", "left")
    info = put_up(ballots, pair(1), pair(2))
    assert (info.pairs, info.voters) == (2, {"ann": 1})
    assert ballots.result("acme", "c1").votes == 1
    assert ballots.next("acme", "c1", "ann").pair == "p2"


def test_what_is_shown_is_sealed_and_goes_when_the_ballot_is_taken_down(registry: Registry, ballots: Ballots) -> None:
    put_up(ballots, pair(0, question="a tenant's own words"))
    with registry.db.read() as session:
        assert session.scalars(select(BallotPair.content)).one()[:1] != b"{"
    ballots.vote("acme", "c1", "p0", "ann", "left")
    ballots.take_down("acme", "c1")
    with registry.db.read() as session:
        assert session.scalars(select(BallotPair.pair)).all() == []
    assert len(registry.votes.of("acme", "c1")) == 1, "votes stay"
    for gone in (
        lambda: ballots.take_down("acme", "c1"),
        lambda: ballots.result("acme", "c1"),
        lambda: ballots.next("acme", "c1", "ann"),
        lambda: ballots.vote("acme", "c1", "p0", "ann", "left"),
    ):
        with pytest.raises(NotFound, match="there is no ballot 'c1' of 'acme'"):
            gone()


def test_pairs_are_sealed_anew_when_the_key_changes(registry: Registry, ballots: Ballots, monkeypatch: Any) -> None:
    monkeypatch.setattr("registry.votes.ballots.BATCH", 2)
    put_up(ballots, *(pair(number) for number in range(5)))
    rotated = Ballots(registry.db, Keyring(f"{KEY},plain"))
    assert [rotated.reseal(), rotated.reseal()] == [5, 0]
    assert Ballots(registry.db, Keyring(KEY)).next("acme", "c1", "ann").shown == pair(0).shown


def test_ballots_are_listed_by_tenant_and_comparison(ballots: Ballots) -> None:
    for tenant, comparison in (("globex", "c1"), ("acme", "c2"), ("acme", "c1")):
        ballots.put_up(tenant, comparison, MODELS, [pair(0)], actor="kim")
    names = [(one.tenant, one.comparison) for one in ballots.page(None, 2)]
    assert names == [("acme", "c1"), ("acme", "c2")]
    assert [one.tenant for one in ballots.page(names[-1], 2)] == ["globex"]
    assert [one.comparison for one in ballots.page(None, 9, tenant="globex")] == ["c1"]


def test_what_is_no_ballot_and_no_vote_is_refused(ballots: Ballots) -> None:
    with pytest.raises(InvalidInput, match="pairs are 0; a ballot has 1 to 2000"):
        put_up(ballots)
    with pytest.raises(InvalidInput, match=r"pairs has one of .* bytes, p0; the most is"):
        put_up(ballots, pair(0, question="x" * MOST_SHOWN_BYTES))
    with pytest.raises(NotFound, match="there is no tenant 'initech'"):
        ballots.put_up("initech", "c1", MODELS, [pair(0)], actor="kim")
    put_up(ballots, pair(0))
    with pytest.raises(InvalidInput, match="preferred is 'up'; choose from left, right, tie"):
        ballots.vote("acme", "c1", "p0", "ann", "up")  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="pair is 'p9', which is not on this ballot"):
        ballots.vote("acme", "c1", "p9", "ann", "left")
    with pytest.raises(InvalidInput, match="voter is ' '"):
        ballots.next("acme", "c1", " ")
