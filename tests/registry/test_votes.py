"""Votes on pairs: one of each person, which may be changed and taken back, and no other tenant's."""

from __future__ import annotations

import pytest

from registry.errors import Conflict, InvalidInput, NotFound
from registry.service import Registry
from registry.votes import store
from registry.votes.store import Votes


@pytest.fixture
def votes(registry: Registry) -> Votes:
    return registry.votes


def test_a_vote_is_one_of_a_person_and_may_be_changed_and_taken_back(votes: Votes) -> None:
    votes.cast("acme", "c1", "p1", "ann", "a", "b")
    votes.cast("acme", "c1", "p1", "ann", "tie", "b")
    votes.cast("acme", "c1", "p1", "bob", "b", "a")
    votes.cast("acme", "c2", "p1", "ann", "b", "a")
    assert {(vote.voter, vote.winner, vote.left) for vote in votes.of("acme", "c1")} == {
        ("ann", "tie", "b"),
        ("bob", "b", "a"),
    }
    assert votes.of("globex", "c1") == []
    assert votes.take_back("acme", "c1", "p1", "ann")
    assert not votes.take_back("acme", "c1", "p1", "ann")
    assert [vote.voter for vote in votes.of("acme", "c1")] == ["bob"]
    assert len(votes.of("acme", "c2")) == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"voter": " "}, "voter is ' '"),
        ({"voter": "x" * 101}, "a name has 1 to 100 characters"),
        ({"voter": "a\nb"}, "that can be seen"),
        ({"winner": "c"}, "winner is 'c'; choose from a, b, tie"),
        ({"left": "tie"}, "left is 'tie'; choose from a, b"),
        ({"pair": ""}, "pair has 0 characters"),
    ],
)
def test_what_is_no_vote_is_refused_with_its_field(votes: Votes, changed: dict[str, str], told: str) -> None:
    whole = {"comparison": "c", "pair": "p", "voter": "ann", "winner": "a", "left": "a", **changed}
    with pytest.raises(InvalidInput, match=told):
        votes.cast("acme", **whole)  # type: ignore[arg-type]
    assert votes.of("acme", "c") == []


def test_a_comparison_has_no_votes_without_end_and_none_without_a_tenant(
    votes: Votes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_VOTES", 2)
    for pair in ("p1", "p2"):
        votes.cast("acme", "c", pair, "ann", "a", "a")
    with pytest.raises(Conflict, match="there are 2 votes on this comparison"):
        votes.cast("acme", "c", "p3", "ann", "a", "a")
    with pytest.raises(NotFound):
        votes.cast("nobody", "c", "p", "ann", "a", "a")
