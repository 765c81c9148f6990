"""Order, places, winners and agreement of pairs."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from registry.votes.agreement import agreements, by_majority, cohen, fleiss
from registry.votes.store import Side, Winner
from trainer.data.faults import DataError
from trainer.endpoints.client import Reply
from trainer.evaluation.judge import PairVerdict
from trainer.evaluation.rows import EvaluationRow
from trainer.pairwise.pairs import Pair, pair_of, places
from trainer.pairwise.run_file import open_run
from trainer.pairwise.winners import Won, by_judge, counts_of, unit_winner


def row(number: int, unit: str | None = None) -> EvaluationRow:
    return EvaluationRow(number, unit or f"u{number}", ({"role": "user", "content": f"question {number}"},), None, {})


def pair(a: str, b: str) -> Pair:
    return pair_of(places([row(1)], 0)[0], Reply(a, True, 0.1), Reply(b, True, 0.1))


def test_places_are_a_seeds_alone_balanced_and_conversations_stay_whole() -> None:
    rows = [row(at, f"talk {at // 3}") for at in range(99)]
    found = places(rows, 7)
    assert found == places(rows, 7) != places(rows, 8)
    assert sorted(place.row.line for place in found) == list(range(99))
    sides: Counter[Side] = Counter(place.left for place in found)
    assert abs(sides["a"] - sides["b"]) == 1
    units = [place.row.unit for place in found]
    assert sum(one != other for one, other in pairwise(units)) == 32, "33 talks, each in one piece"
    assert units != sorted(units)


def test_a_pair_is_called_by_its_words_alone() -> None:
    assert pair("x", "y").key == pair("x", "y").key
    assert len({pair(*texts).key for texts in (("x", "y"), ("y", "x"), ("x", "z"))}) == 3
    assert pair(" x", "x\n").same
    one, other = (Reply("", True, 0.1, calls=f'[["look", "{at}"]]') for at in (1, 2))
    assert not pair_of(places([row(1)], 0)[0], one, other).same, "calls of tools are answers too"


def test_who_wins_is_said_by_both_orders_or_by_most_people() -> None:
    verdicts = [PairVerdict("A", "B"), PairVerdict("B", "A"), PairVerdict("A", "A"), PairVerdict(None, "A")]
    assert [by_judge(verdict) for verdict in verdicts] == ["a", "b", "tie", None]
    votes: list[list[Winner]] = [["a"], ["a", "b"], ["a", "b", "b"], ["tie", "tie", "a"], []]
    assert [by_majority(some) for some in votes] == ["a", "tie", "b", "a", None]


def test_a_conversation_counts_once_however_long_it_is() -> None:
    won = [Won(pair("x", "y"), winner) for winner in ("b", "b", "a", None)]
    assert [unit_winner(part) for part in (won, won[2:], won[1:3], won[3:])] == [1, -1, 0, None]


def test_the_share_that_longer_answers_win_leaves_ties_and_equal_lengths_out() -> None:
    long_b, equal = pair("short", "much longer"), pair("one", "two")
    won = [Won(long_b, "b"), Won(long_b, "a"), Won(long_b, "b"), Won(long_b, "tie"), Won(equal, "a"), Won(equal, None)]
    found = counts_of(won)
    assert (found.a, found.b, found.ties, found.unknown, found.pairs) == (2, 2, 1, 1, 5)
    assert found.longer_won == pytest.approx(2 / 3)


def test_kappa_of_two_is_cohens() -> None:
    """The table of 50 proposals with 20, 5, 10 and 15: 0.4."""
    table: list[tuple[Winner, Winner, int]] = [("a", "a", 20), ("a", "b", 5), ("b", "a", 10), ("b", "b", 15)]
    rows = [[one, other] for one, other, times in table for _ in range(times)]
    assert cohen(rows) == pytest.approx(0.4)
    assert cohen([["a", "a"]] * 9) is None, "who only ever says one thing agrees by chance too"


def test_kappa_of_three_is_fleiss() -> None:
    rows: list[list[Winner]] = [["a", "a", "a"], ["b", "b", "b"], ["a", "a", "b"], ["tie", "a", "b"]]
    observed = (1 + 1 + 1 / 3 + 0) / 4
    expected = (6**2 + 5**2 + 1) / 12**2
    assert fleiss(rows) == pytest.approx((observed - expected) / (1 - expected))


def test_agreement_is_of_each_two_and_of_all_on_what_they_share() -> None:
    said: dict[str, dict[str, Winner]] = {
        "ann": {"p1": "a", "p2": "b", "p3": "tie"},
        "bob": {"p1": "a", "p2": "a"},
        "cid": {"p2": "b", "p9": "a"},
    }
    found = {one.judges: (one.pairs, one.share) for one in agreements(said)}
    assert found == {
        ("ann", "bob"): (2, 0.5),
        ("ann", "cid"): (1, 1.0),
        ("bob", "cid"): (1, 0.0),
        ("ann", "bob", "cid"): (1, pytest.approx(1 / 3)),
    }


def test_a_run_goes_on_from_its_file_and_half_a_line_is_cut_off(tmp_path: Path) -> None:
    file, about = tmp_path / "new" / "run.jsonl", {"a": {"model": "x"}, "temperature": None}
    reply, verdict = Reply("ü\n", True, 0.5, 3, 4), PairVerdict("A", None)
    with open_run(file, about) as run:
        run.keep_reply("r1", "a", reply)
        run.keep_verdict("p1", "wise", verdict)
    with file.open("ab") as torn:
        torn.write(b'{"answer": {"row": "r2", "si')
    with open_run(file, about) as run:
        assert (run.reply("r1", "a"), run.reply("r1", "b"), run.reply("r2", "a")) == (reply, None, None)
        assert (run.verdict("p1", "wise"), run.verdict("p1", "other")) == (verdict, None)
        run.keep_reply("r2", "a", reply)
        with pytest.raises(DataError, match="another command writes to it"), open_run(file, about):
            raise AssertionError
    with open_run(file, about) as run:
        assert run.reply("r2", "a") == reply
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_the_file_of_another_comparison_or_of_anything_else_is_left_alone(tmp_path: Path) -> None:
    file, rows = tmp_path / "run.jsonl", tmp_path / "rows.jsonl"
    with open_run(file, {"data": "sha256:1", "max_tokens": 5}):
        pass
    rows.write_text('{"messages": []}\n')
    text = tmp_path / "text"
    text.write_text("one line without an end")
    no_file = "is no file of a comparison"
    for wanted, told in ((file, r"is of another comparison \(other data\)"), (rows, no_file), (text, no_file)):
        before = wanted.read_bytes()
        with pytest.raises(DataError, match=told), open_run(wanted, {"data": "sha256:2", "max_tokens": 5}):
            raise AssertionError
        assert wanted.read_bytes() == before
