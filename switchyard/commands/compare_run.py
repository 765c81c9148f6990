"""What `switchyard experiments compare` does: ask, let judge, count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gateway.experiments.preference import Preference, Standing
from registry.errors import InvalidInput
from registry.service import Registry
from registry.votes.agreement import Agreement, agreements, by_majority
from registry.votes.ballots import NewPair, Shown
from registry.votes.store import Vote, Winner, check_voter
from switchyard.commands.asking import step_bar, write_picture_or_say
from switchyard.commands.compare_figures import (
    MILLION,
    Cost,
    cost_of,
    items_of,
    metrics_for,
    standing_of,
    title_of,
)
from switchyard.commands.compare_sides import Dollars, Named, SideOrder, Table, client_at, seated
from switchyard.commands.compare_voting import Booth, take_votes
from switchyard.console import actor, say
from switchyard.picture_files import Form, form_of
from trainer.endpoints.client import Manner, Spent
from trainer.evaluation.chart import draw_matrix
from trainer.evaluation.items import Item
from trainer.evaluation.judge import Judge, Judging, PairVerdict, judging_of, too_unreadable
from trainer.evaluation.rows import read_rows
from trainer.pairwise.pairs import Comparison, Pair, digest_of
from trainer.pairwise.preferences import Exported, export_preferences
from trainer.pairwise.run import question_of, run
from trainer.pairwise.run_file import RunFile, open_run
from trainer.pairwise.winners import Counts, Won, by_judge, counts_of, unit_winner

COMPARISONS = "comparisons"
"""In the state folder: files of comparisons."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a person has typed."""

    sides: Named
    prompts: Path
    manner: Manner
    metrics: tuple[str, ...]
    rows: int
    seed: int
    at_once: int
    judge: SideOrder | None
    by: str | None
    human: bool
    ballot: bool
    until_decided: bool
    run: Path | None
    plot: Path | None
    export: Path | None


@dataclass(frozen=True, slots=True)
class Opinions:
    """Who won each pair, and what there is to know of whoever says so. `why` tells why nothing is concluded.

    `spent` and `dollars` are what a judge has used this time. `left_preferred` is the share of people's votes, ties
    left out, for what stood on the left: about one half.
    """

    won: tuple[Won, ...]
    standing: Standing | None
    judging: Judging | None = None
    spent: Spent | None = None
    dollars: float | None = None
    voters: tuple[str, ...] = ()
    left_preferred: float | None = None
    agreements: tuple[Agreement, ...] = ()
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """All that was found. Pairs of figures have A's first. `prompts` are those of the file that could be asked."""

    comparison: Comparison
    prompts: int
    pairs: int
    units: int
    items: tuple[Item, ...]
    not_measured: Mapping[str, str]
    costs: tuple[Cost, Cost]
    counts: Counts
    preference: Preference | None
    said: Opinions
    run: Path
    exported: Exported | None


def carried_out(registry: Registry, order: Order) -> Compared:
    """Everything, in this order: what may be refused is, before anything is asked."""
    form: Form | None = form_of(order.plot) if order.plot is not None else None
    _refuse_old(order.export)
    if order.human:
        check_voter(_voter(order), "by")
    data = read_rows(order.prompts, order.rows)
    metrics = metrics_for(order.metrics, data)
    at_gateway = order.judge is not None and order.judge.url is None
    with seated(registry, order.sides, at_gateway) as table, _judge(order, table) as judge:
        comparison = Comparison(table.a, table.b, data, order.manner, order.seed)
        file = order.run or registry.settings.state_dir / COMPARISONS / f"{comparison.id}.jsonl"
        with open_run(file, comparison.about) as run_file:
            pairs, said = _said(registry, order, table, comparison, run_file, judge)
    preference = None if said.why is not None or said.standing is None else said.standing.preference
    items, missing = items_of(pairs, preference, metrics)
    exported = None
    if order.export is not None and said.why is None:
        exported = export_preferences(comparison, said.won, order.export)
    if order.plot is not None and form is not None:
        write_picture_or_say(order.plot, draw_matrix(items, title_of(comparison), form))
    return Compared(
        comparison,
        len(data.rows),
        len(pairs),
        len({pair.row.unit for pair in pairs}),
        tuple(items),
        missing,
        (cost_of(pairs, "a", table.a.dollars), cost_of(pairs, "b", table.b.dollars)),
        counts_of(said.won),
        preference,
        said,
        file,
        exported,
    )


def _voter(order: Order) -> str:
    return order.by or actor()


def _refuse_old(file: Path | None) -> None:
    if file is not None and (file.exists() or not file.parent.is_dir()):
        raise InvalidInput(
            f"export_preferences is {str(file)!r}; name a new file in a folder that is there",
            param="export_preferences",
        )


@contextmanager
def _judge(order: Order, table: Table) -> Iterator[Judge | None]:
    if order.judge is None:
        yield None
    elif order.judge.url is None:
        assert table.gateway is not None
        yield Judge(table.gateway, order.judge.model)
    else:
        with client_at(order.judge) as client:
            yield Judge(client, order.judge.model)


def _said(
    registry: Registry, order: Order, table: Table, comparison: Comparison, file: RunFile, judge: Judge | None
) -> tuple[list[Pair], Opinions]:
    """The pairs, and what was said of them."""
    if judge is not None:
        return _judged(order, comparison, file, judge, table.prices)
    pairs = _answered(order, comparison, file)
    if not (order.human or order.ballot):
        why = "nobody was asked which answer is better; --judge names a model, or --human or --ballot"
        return pairs, Opinions((), None, why=why)
    if table.tenant is None:
        raise InvalidInput("tenant is missing: neither side says whose the votes are; name one", param="tenant")
    return pairs, _voted(registry, order, table.tenant, comparison, file, pairs)


def _judged(
    order: Order, comparison: Comparison, file: RunFile, judge: Judge, prices: Mapping[str, Dollars]
) -> tuple[list[Pair], Opinions]:
    """Conversation by conversation, until there are no more, or it is decided."""
    pairs: list[Pair] = []
    won: list[Won] = []
    verdicts: list[PairVerdict] = []
    standing = Standing()
    total = len(comparison.data.rows)
    with closing(run(comparison, file, judge, order.at_once)) as outcomes, step_bar("pairs judged") as told:
        for _, unit in groupby(outcomes, key=lambda one: one.pair.row.unit):
            part = []
            for one in unit:
                assert one.verdict is not None
                pairs.append(one.pair)
                part.append(Won(one.pair, by_judge(one.verdict), (judge.name,)))
                if not one.pair.same:
                    verdicts.append(one.verdict)
                told(len(pairs), total)
            won += part
            winner = unit_winner(part)
            if winner is not None:
                standing.take(winner)
            if order.until_decided and standing.is_decided:
                break
    judging = judging_of(judge.name, verdicts)
    why = too_unreadable(judging.unreadable, judging.pairs)
    return pairs, Opinions(tuple(won), standing, judging, judge.spent, _dollars(judge, prices), why=why)


def _dollars(judge: Judge, prices: Mapping[str, Dollars]) -> float | None:
    price = prices.get(judge.model)
    if price is None:
        return None
    return (judge.spent.prompt_tokens * price[0] + judge.spent.answer_tokens * price[1]) / MILLION


def _answered(order: Order, comparison: Comparison, file: RunFile) -> list[Pair]:
    pairs: list[Pair] = []
    with step_bar("prompts answered") as told:
        for one in run(comparison, file, None, order.at_once):
            pairs.append(one.pair)
            told(len(pairs), len(comparison.data.rows))
    return pairs


def _voted(
    registry: Registry, order: Order, tenant: str, comparison: Comparison, file: RunFile, pairs: list[Pair]
) -> Opinions:
    """What people say: whoever is at the keyboard now, and all who were before."""
    voter, keys = _voter(order), {pair.key for pair in pairs}

    def votes() -> list[Vote]:
        return [vote for vote in registry.votes.of(tenant, comparison.id) if vote.pair in keys]

    def won() -> list[Won]:
        by_pair: dict[str, list[Vote]] = {}
        for vote in votes():
            by_pair.setdefault(vote.pair, []).append(vote)
        return [_won(pair, by_pair.get(pair.key, [])) for pair in pairs]

    booth = Booth(
        voter,
        tuple(pair for pair in pairs if not pair.same),
        frozenset(vote.pair for vote in votes() if vote.voter == voter),
        lambda pair, winner: registry.votes.cast(tenant, comparison.id, pair.key, voter, winner, pair.left),
        lambda pair: registry.votes.take_back(tenant, comparison.id, pair.key, voter),
        lambda: order.until_decided and standing_of(won()).is_decided,
    )
    if order.ballot:
        _put_up(registry, tenant, comparison, pairs)
    else:
        take_votes(booth)
    found, cast = won(), votes()
    pointed = [vote.winner == vote.left for vote in cast if vote.winner != "tie"]
    return Opinions(
        tuple(found),
        standing_of(found),
        voters=tuple(sorted({vote.voter for vote in cast})),
        left_preferred=sum(pointed) / len(pointed) if pointed else None,
        agreements=tuple(agreements(_by_judge(cast, file, pairs))),
    )


def _put_up(registry: Registry, tenant: str, comparison: Comparison, pairs: Sequence[Pair]) -> None:
    """For people who vote elsewhere: all but those that are ties unasked."""
    asked = {pair.key: pair for pair in pairs if not pair.same}
    if not asked:
        return
    new = [
        NewPair(
            pair.key,
            digest_of(pair.row.unit),
            pair.left,
            Shown(question_of(pair.row), pair.text(pair.left), pair.text(pair.right), pair.row.reference),
        )
        for pair in asked.values()
    ]
    info = registry.ballots.put_up(tenant, comparison.id, (comparison.a.model, comparison.b.model), new, actor=actor())
    say(f"{info.pairs} pairs are put up: people vote on them in the dashboard, under Experiments", err=True)


def _won(pair: Pair, votes: Sequence[Vote]) -> Won:
    winner = "tie" if pair.same else by_majority(vote.winner for vote in votes)
    return Won(pair, winner, tuple(sorted(vote.voter for vote in votes)))


def _by_judge(votes: Sequence[Vote], file: RunFile, pairs: Sequence[Pair]) -> dict[str, dict[str, Winner]]:
    """By voter, and by model that has judged these pairs before, who won by pair."""
    said: dict[str, dict[str, Winner]] = {}
    for vote in votes:
        said.setdefault(vote.voter, {})[vote.pair] = vote.winner
    for judge in file.judges:
        for pair in pairs:
            verdict = file.verdict(pair.key, judge)
            winner = None if verdict is None else by_judge(verdict)
            if winner is not None and not pair.same:
                said.setdefault(f"judge {judge}", {})[pair.key] = winner
    return said
