"""`/admin/v1/ballots`: pairs of answers that people vote on, without knowing whose they are.

`next` and `votes` are for who votes: a question, two answers, left or right. Names and results have a route of their
own, so that a page for voters needs neither.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.api.admin.office import Office, one_page
from gateway.api.admin.shapes import PRINTABLE, After, Limit, Name, Next, Order, Shape
from gateway.experiments.preference import Preference, Standing
from registry.errors import InvalidInput
from registry.votes.ballots import BallotInfo, BallotResult
from registry.votes.store import MOST_KEY_CHARACTERS, MOST_VOTER_CHARACTERS

Tenant = Annotated[Name, Path(description="Whose comparison it is.")]
Comparison = Annotated[str, Path(min_length=1, max_length=MOST_KEY_CHARACTERS, description="The comparison's id.")]
VoterName = Annotated[
    str,
    Query(min_length=1, max_length=MOST_VOTER_CHARACTERS, description="Who votes; votes are kept under this name."),
]
Place = Annotated[int, Query(ge=0, le=1_000_000, description="`place` of a pair that is skipped.")]


class BallotDocument(Shape):
    """A ballot. Show no voter `a` or `b` next to the answers."""

    tenant: str = Field(description="Whose comparison it is.")
    comparison: str = Field(description="Its id.")
    a: str = Field(description="What is there: the model that is A.")
    b: str = Field(description="What may be better: the model that is B.")
    pairs: int = Field(description="How many there are to vote on.")
    actor: str = Field(description="Who put it up.")
    put_up_at_ms: int = Field(description="Milliseconds since the epoch.")
    voters: dict[str, int] = Field(description="Who has voted, and on how many of its pairs.")


class BallotsDocument(Shape):
    """A page of ballots, by tenant and comparison."""

    ballots: list[BallotDocument]
    next: Next


class PreferenceDocument(Shape):
    """How sure it is whose answers are preferred, conversations counting once."""

    b_wins: int = Field(description="Conversations of which B won more pairs than A, by the majority of voters.")
    a_wins: int = Field(description="Those of which A did.")
    ties: int = Field(description="All others of which something was said.")
    share: float = Field(description="Of decided conversations, the share that B wins; 0.5 without any.")
    low: float = Field(description="The low end of its 95 % confidence sequence, right at any time.")
    high: float = Field(description="The high end.")
    wilson_low: float | None = Field(description="Wilson's, for a number that was fixed before; null: none decided.")
    wilson_high: float | None = Field(description="The high end.")
    evidence: float = Field(description='The e-value against "each wins half".')
    decided_after: int | None = Field(description="Conversations until that was 20; null: it never was.")
    text: str = Field(description="In words.")


class AgreementDocument(Shape):
    """How far some voters agree."""

    judges: list[str] = Field(description="Their names.")
    pairs: int = Field(description="That all of them have voted on.")
    share: float = Field(description="On which two of them say the same, 0 to 1.")
    kappa: float | None = Field(description="Cohen's of two, Fleiss's of more; null: they only ever say one thing.")


class BallotResultDocument(BallotDocument):
    """A ballot with what was said so far."""

    votes: int = Field(description="Of all voters.")
    preference: PreferenceDocument
    left_preferred: float | None = Field(description="The share of votes for the left one, ties left out.")
    agreements: list[AgreementDocument] = Field(description="Of each two voters, and of all if they are more.")


class ShownDocument(Shape):
    """What a voter sees."""

    question: str = Field(description="The prompt.")
    left: str = Field(description="One answer.")
    right: str = Field(description="The other.")
    reference: str | None = Field(description="A right answer, where the prompt has one.")


class NextPairDocument(Shape):
    """The next pair of one voter."""

    done: int = Field(description="Pairs that he has voted on.")
    pairs: int = Field(description="All there are.")
    pair: str | None = Field(description="Its key, which a vote names; null: he has voted on all.")
    place: int | None = Field(description="Send it as `after` to skip the pair.")
    shown: ShownDocument | None = Field(description="The pair itself; null: he has voted on all.")


class VoteOrder(Order):
    """What a voter says of a pair."""

    pair: str = Field(min_length=1, max_length=MOST_KEY_CHARACTERS, description="Its key.")
    voter: str = Field(min_length=1, max_length=MOST_VOTER_CHARACTERS, pattern=PRINTABLE, description="Who votes.")
    preferred: Literal["left", "right", "tie"] = Field(description="Which answer is better.")


class VoteDocument(Shape):
    """A vote that was taken, without saying whose answer it is for."""

    pair: str = Field(description="The pair's key.")
    voter: str = Field(description="Who voted.")
    at_ms: int = Field(description="Milliseconds since the epoch.")


class TakenBackDocument(Shape):
    """What became of a vote."""

    taken_back: bool = Field(description="Whether there was one.")


class TakenDownDocument(Shape):
    """What became of a ballot."""

    taken_down: bool = Field(description="Its texts are gone; votes stay.")


def add_ballots(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions."""
    _add_reading(router, office)
    _add_voting(router, office)


def _add_reading(router: APIRouter, office: Office) -> None:
    ballots = office.registry.ballots

    @router.get("/ballots")
    def list_ballots(
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        after: After = None,
        limit: Limit = 50,
    ) -> BallotsDocument:
        """Comparisons whose pairs are put up to be voted on."""
        found = ballots.page(_place(after), limit + 1, tenant=tenant)
        page, following = one_page(found, limit, lambda one: f"{one.tenant}/{one.comparison}")
        return BallotsDocument(ballots=[BallotDocument.model_validate(one) for one in page], next=following)

    @router.get("/ballots/{tenant}/{comparison}")
    def show_ballot(tenant: Tenant, comparison: Comparison) -> BallotResultDocument:
        """A ballot with its models' names and what was said so far; not for who still votes."""
        return _document(ballots.result(tenant, comparison))

    @router.delete("/ballots/{tenant}/{comparison}")
    def take_ballot_down(tenant: Tenant, comparison: Comparison) -> TakenDownDocument:
        """Forget what was shown; votes stay, and count again when the same pairs are put up."""
        ballots.take_down(tenant, comparison)
        return TakenDownDocument(taken_down=True)


def _add_voting(router: APIRouter, office: Office) -> None:
    ballots, votes = office.registry.ballots, office.registry.votes

    @router.get("/ballots/{tenant}/{comparison}/next")
    def next_pair(tenant: Tenant, comparison: Comparison, voter: VoterName, after: Place = 0) -> NextPairDocument:
        """The next pair that this voter has said nothing of, without names."""
        return NextPairDocument.model_validate(ballots.next(tenant, comparison, voter, after))

    @router.post("/ballots/{tenant}/{comparison}/votes", status_code=201)
    def vote(tenant: Tenant, comparison: Comparison, order: VoteOrder) -> VoteDocument:
        """Say which answer is better; a later vote of the same person takes the place of the earlier one."""
        return VoteDocument.model_validate(ballots.vote(tenant, comparison, order.pair, order.voter, order.preferred))

    @router.delete("/ballots/{tenant}/{comparison}/votes/{pair}")
    def take_vote_back(
        tenant: Tenant,
        comparison: Comparison,
        pair: Annotated[str, Path(max_length=MOST_KEY_CHARACTERS, description="Its key.")],
        voter: VoterName,
    ) -> TakenBackDocument:
        """As if it had not been cast."""
        return TakenBackDocument(taken_back=votes.take_back(tenant, comparison, pair, voter))


def _place(after: str | None) -> tuple[str, str] | None:
    if after is None:
        return None
    tenant, slash, comparison = after.partition("/")
    if not slash:
        raise InvalidInput(f"after is {after[:40]!r}; send `next` of the page before", param="after")
    return tenant, comparison


def _document(found: BallotResult) -> BallotResultDocument:
    info: BallotInfo = found.info
    return BallotResultDocument(
        **{name: getattr(info, name) for name in BallotDocument.model_fields},
        votes=found.votes,
        preference=PreferenceDocument.model_validate(_preference(found)),
        left_preferred=found.left_preferred,
        agreements=[AgreementDocument.model_validate(one) for one in found.agreements],
    )


def _preference(found: BallotResult) -> Preference:
    standing = Standing()
    for winner in found.winners:
        standing.take(winner)
    return standing.preference
