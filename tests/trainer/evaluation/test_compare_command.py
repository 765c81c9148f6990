"""`switchyard experiments compare`: blind, in both orders, resumable, and honest about how sure it is."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_runner import Run, run
from tests.support.judge_server import judge_server
from tests.support.terminal import bytes_on_a_terminal
from tests.trainer.evaluation.conftest import TOKENS, Court
from trainer.data.read import read_data
from trainer.data.report import findings_of

__all__ = ["run"]
NEW, OLD = "acme/triage@1.1", "acme/triage@1.0"
Say = Callable[[str], str]


@pytest.fixture
def beside(run: Run, court: Court, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on the state folder of the court's gateway."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(court.stack.house.settings.state_dir))
    monkeypatch.setenv("SWITCHYARD_PORT", str(court.stack.house.settings.port))
    return run


@pytest.fixture
def compare(beside: Run, tmp_path: Path) -> Run:
    """The command with short answers and a file of the test's own."""

    def compared(a: str, b: str, prompts: Path, *more: Any) -> Any:
        own = ("--run", tmp_path / "run.jsonl", "--max-tokens", str(TOKENS))
        return beside("experiments", "compare", a, b, "--prompts", prompts, *own, *more)

    return compared


@pytest.fixture
def questions(tmp_path: Path) -> Callable[[int], Path]:
    """A file of so many prompts without a right answer."""

    def written(count: int) -> Path:
        file = tmp_path / "prompts.jsonl"
        rows = [
            {"messages": [{"role": "user", "content": f"{tmp_path.name}: where is parcel {at}?"}]}
            for at in range(count)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    return written


def prefers(court: Court, model: str, sure: Callable[[int], bool] = lambda number: True) -> Say:
    """A judge that knows whose answer is whose, and prefers a model's where `sure`, else the other's."""

    def say(prompt: str) -> str:
        question, number = re.findall(r"user: (.*where is parcel (\d+)\?)", prompt)[0]
        own = court.says(model, question)
        first = re.findall(r"<assistant A>\n(.*?)\n</assistant A>", prompt, re.DOTALL)[0]
        return json.dumps({"better": "A" if (first == own) is sure(int(number)) else "B"})

    return say


def answered(file: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, file.read_text().splitlines()) if "answer" in line]


def test_a_judge_at_the_gateway_that_always_says_a_finds_ties_and_no_winner(
    compare: Run, questions: Callable[[int], Path]
) -> None:
    done = compare(OLD, NEW, questions(12), "--judge", "tiny", "--json")
    assert done.status == 0, done.err
    found = done.document
    assert found["counts"] == {"a": 0, "b": 0, "ties": 12, "unknown": 0, "longer_won": None}
    preference = found["preference"]
    assert (preference["low"], preference["high"], preference["evidence"]) == (0.0, 1.0, 1.0)
    assert preference["text"] == "neither is preferred: all pairs are ties"
    assert preference["decided_after"] is None
    line = next(item for item in found["items"] if item["metric"] == "preference")
    assert (line["low"], line["high"]) == (None, None), "of ties alone nothing is known, least of all that it is 0"
    assert (found["judging"]["flipped"], found["judging"]["first_preferred"]) == (1.0, 1.0)
    assert found["judge_spent"]["requests"] == 24, "both orders of every pair"


def test_a_judge_with_a_reason_finds_the_better_one_and_says_how_sure_that_is(
    court: Court, compare: Run, questions: Callable[[int], Path], tmp_path: Path
) -> None:
    picture = tmp_path / "matrix.svg"
    with judge_server(prefers(court, NEW, lambda number: number % 8 != 0)) as url:
        more = (
            "--judge",
            "wise",
            "--judge-url",
            url,
            "--plot",
            picture,
            "--price",
            f"{NEW}=1:2",
            "--metric",
            "regex:.* .*",
        )
        done = compare("acme/triage", NEW, questions(40), *more)
    assert done.status == 0, done.err
    assert f"A  {OLD}\nB  {NEW}\n40 of 40 prompts of prompts.jsonl, 40 conversations" in done.out
    assert "pairs: B wins 35, A wins 5, ties 0" in done.out
    assert "\nB is preferred in 54 to 99 % of pairs (95 %, any time)\n" in done.out
    assert "B wins 74% to 95% (Wilson, 95 %)" in done.out
    assert "0% turned with the order; the first place was preferred 50%\n" in done.out
    rows = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert rows["preference"].split()[1:5] == ["12.5", "%", "87.5", "%"]
    assert rows["preference"].endswith("better")
    assert "dollars per 1,000 answers" in rows
    assert f"{NEW} (B) against {OLD} (A): improvement, 95 % interval" in picture.read_text()


def test_it_stops_as_soon_as_it_is_decided(court: Court, compare: Run, questions: Callable[[int], Path]) -> None:
    with judge_server(prefers(court, OLD)) as url:
        more = ("--judge", "wise", "--judge-url", url, "--until-decided", "--json")
        found = compare(OLD, NEW, questions(60), *more).document
    assert found["preference"]["decided_after"] == found["pairs"] < 25
    assert found["preference"]["text"].startswith("A is preferred in ")
    assert found["preference"]["evidence"] >= 20


def test_an_interrupted_run_goes_on_from_its_file_and_asks_nothing_twice(
    court: Court, compare: Run, questions: Callable[[int], Path], tmp_path: Path
) -> None:
    prompts, asked = questions(10), []
    wise = prefers(court, NEW)

    def broken(prompt: str) -> str:
        asked.append(prompt)
        return wise(prompt) if len(asked) <= 8 else "x" * (9 * 2**20)

    with judge_server(broken) as url:
        more = ("--judge", "wise", "--judge-url", url, "--at-once", "1", "--json")
        stopped = compare(OLD, NEW, prompts, *more)
        assert stopped.status == 1
        assert "answers more than 8388608 bytes" in stopped.err
        before = len(answered(tmp_path / "run.jsonl"))
        del asked[4:]
        whole = compare(OLD, NEW, prompts, *more)
    assert whole.status == 1, "it breaks again, four pairs later"
    assert 8 <= before < len(answered(tmp_path / "run.jsonl")) <= 20
    with judge_server(wise) as other:
        text = (tmp_path / "run.jsonl").read_text().replace(url, other)
        (tmp_path / "run.jsonl").write_text(text)
        found = compare(OLD, NEW, prompts, "--judge", "wise", "--judge-url", other, "--json").document
        assert found["judge_spent"]["requests"] < 20
        again = compare(OLD, NEW, prompts, "--judge", "wise", "--judge-url", other, "--json").document
    assert (found["counts"]["b"], again["judge_spent"]["requests"]) == (10, 0)
    assert {**again, "judge_spent": None} == {**found, "judge_spent": None}


def test_the_turns_of_a_conversation_count_once(court: Court, compare: Run, tmp_path: Path) -> None:
    turns = []
    for at in range(6):
        turns += [
            {"role": "user", "content": f"Where is parcel {at}?"},
            {"role": "assistant", "content": f"There {at}."},
        ]
    file = tmp_path / "talk.jsonl"
    file.write_text(json.dumps({"messages": turns}) + "\n")
    with judge_server(lambda prompt: '{"better": "tie"}') as url:
        found = compare(OLD, NEW, file, "--judge", "wise", "--judge-url", url, "--json").document
    assert (found["pairs"], found["units"], found["counts"]["ties"], found["preference"]["ties"]) == (6, 1, 6, 1)
    assert {item["metric"] for item in found["items"]} == {"label_exact", "rouge_l", "preference"}


def test_the_same_answer_twice_is_a_tie_that_nobody_is_asked_about(
    compare: Run, questions: Callable[[int], Path]
) -> None:
    found = compare(NEW, NEW, questions(5), "--judge", "tiny", "--json").document
    assert (found["counts"]["ties"], found["judge_spent"]["requests"]) == (5, 0)


def test_the_commands_of_the_page_do_what_it_says(
    beside: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    questions(4)
    page = (Path(__file__).parents[3] / "docs" / "compare.md").read_text()
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("switchyard ")]
    assert len(commands) == 3
    for typed in commands:
        monkeypatch.setattr(sys, "stdin", io.StringIO("l\nr\n←\nt\n"))
        done = beside(*(word.replace("acme/wise", "tiny") for word in typed), "--max-tokens", str(TOKENS))
        assert done.status == 0, done.err
    assert len((tmp_path / "preferences.jsonl").read_text().splitlines()) == 3
    assert "voters: " in done.out
    assert "judge tiny" in done.out


def test_sides_may_be_the_base_or_a_model_elsewhere_with_a_key_of_its_own(
    court: Court, compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = compare("base", NEW, questions(4), "--judge", "tiny", "--json").document
    assert (base["a"], base["b"]["model"]) == ({"model": "tiny", "digest": None, "where": ""}, NEW)
    monkeypatch.setenv("ELSEWHERE_KEY", court.stack.house.keys["acme+base"])
    away = ("--b-url", f"{court.stack.url}/v1", "--b-key-env", "ELSEWHERE_KEY", "--run", "away.jsonl")
    found = compare(OLD, "acme/triage@1.1", questions(4), *away, "--judge", "tiny", "--json").document
    assert found["b"] == {"model": NEW, "digest": None, "where": f"{court.stack.url}/v1"}
    assert found["costs"]["b"]["tokens"] == TOKENS


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "no preference: nobody was asked which answer is better"),
        (("--until-decided",), "judge is missing: nobody says which answer is better"),
        (("--judge", "tiny", "--human"), "judge is for a model, and --human for people"),
        (("--human", "--by", "a\tb"), "--by is 'a\\tb'; a name has 1 to 100 characters"),
        (("--price", "x=1"), "--price is 'x=1'; expected MODEL=IN:OUT"),
        (("--metric", "loss"), "metric is 'loss', which is of versions alone"),
        (("--plot", "x.gif", "--judge", "tiny"), "name a file that ends with .png or .svg"),
        (("--judge", "nobody"), "nobody does not answer at"),
        (("--judge", "tiny", "--export-preferences", "/nowhere/x.jsonl"), "name a new file in a folder that is there"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    compare: Run, questions: Callable[[int], Path], options: tuple[str, ...], told: str
) -> None:
    done = compare(OLD, NEW, questions(3), *options)
    assert told in done.out + done.err
    assert "Traceback" not in done.err


def test_two_models_that_name_no_tenant_need_one(compare: Run, questions: Callable[[int], Path]) -> None:
    assert "--tenant is missing: neither side says as whom" in compare("tiny", "tiny", questions(2)).err
    done = compare("tiny", "tiny", questions(2), "--tenant", "acme", "--json")
    assert done.document["a"]["model"] == "tiny", done.err


# People


def votes(compare: Run, prompts: Path, typed: str, monkeypatch: pytest.MonkeyPatch, *more: Any) -> Any:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    return compare(OLD, NEW, prompts, "--human", *more)


def test_people_vote_without_names_and_go_on_later(
    court: Court, compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prompts = questions(6)
    first = votes(compare, prompts, "l\nr\nwhat\nt\nu\ns\nq\n", monkeypatch, "--by", "ann")
    assert first.status == 0, first.err
    shown = first.err
    assert OLD not in shown
    assert NEW not in shown
    assert "1 of 6, ann" in shown
    assert "left is better" in shown
    assert "voters: ann" in first.out
    assert "4 without a verdict" in first.out, "a tie that was taken back, one skipped, two not seen"
    second = votes(compare, prompts, "t\nt\nt\nt\n", monkeypatch, "--by", "ann", "--json")
    assert second.document["counts"]["ties"] == 4
    assert second.document["counts"]["unknown"] == 0
    assert second.document["counts"]["a"] + second.document["counts"]["b"] == 2
    third = votes(compare, prompts, "t\nt\nt\nt\nt\nt\n", monkeypatch, "--by", "bob")
    assert re.search(r"ann, bob: 67% the same on 6 pairs, kappa 0\.00", third.out)
    kept = {
        (vote.voter, vote.winner) for vote in court.stack.house.registry.votes.of("acme", second.document["comparison"])
    }
    assert ("bob", "tie") in kept


def test_a_vote_is_for_the_side_that_stood_where_the_voter_pointed(
    court: Court, compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = questions(9)
    document = votes(compare, prompts, "left\n" * 9, monkeypatch, "--by", "cid", "--json", "--seed", "3").document
    counts = document["counts"]
    assert abs(counts["a"] - counts["b"]) == 1, "who always points to the left prefers nobody"
    for vote in court.stack.house.registry.votes.of("acme", document["comparison"]):
        if vote.voter == "cid":
            assert vote.winner == vote.left


def test_prompts_that_are_added_are_asked_and_votes_on_the_others_stay(
    compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = votes(compare, questions(3), "t\nt\nt\n", monkeypatch, "--by", "fay", "--json").document
    after = votes(compare, questions(5), "t\nq\n", monkeypatch, "--by", "fay", "--json").document
    assert (before["counts"]["ties"], before["comparison"]) == (3, after["comparison"])
    assert (after["counts"]["ties"], after["counts"]["unknown"]) == (4, 1)


def test_people_and_a_model_that_judged_before_are_compared(
    court: Court, compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = questions(4)
    compare(OLD, NEW, prompts, "--judge", "tiny")
    done = votes(compare, prompts, "t\nt\nt\nl\n", monkeypatch, "--by", "gus")
    assert "gus, judge tiny: 75% the same on 4 pairs, kappa 0.00" in done.out


def test_pairs_are_put_up_for_people_elsewhere_and_their_votes_count_as_those_of_the_keyboard(
    court: Court, compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, ballots = questions(4), court.stack.house.registry.ballots
    first = compare(OLD, NEW, prompts, "--ballot", "--json")
    assert "4 pairs are put up: people vote on them in the dashboard" in first.err
    assert first.document["counts"]["unknown"] == 4
    comparison = first.document["comparison"]
    for voter, preferred in (("hal", "left"), ("ida", "tie")):
        while (pair := ballots.next("acme", comparison, voter)).pair is not None:
            assert pair.shown is not None
            assert OLD not in str(pair), "blind"
            assert "where is parcel" in pair.shown.question
            ballots.vote("acme", comparison, pair.pair, voter, preferred)  # type: ignore[arg-type]
    again = compare(OLD, NEW, prompts, "--ballot", "--json").document
    assert (again["counts"]["unknown"], again["voters"]) == (0, ["hal", "ida"])
    keyboard = votes(compare, prompts, "", monkeypatch, "--by", "hal", "--json").document
    assert keyboard["counts"] == again["counts"], "one kind of votes"
    assert "leave --judge and --human out" in compare(OLD, NEW, prompts, "--ballot", "--human").err


def test_votes_become_rows_for_dpo(
    court: Court, compare: Run, questions: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "preferences.jsonl"
    options = ("--by", "dora", "--export-preferences", out)
    done = votes(compare, questions(7), "l\nr\nt\nl\nr\nl\nl\n", monkeypatch, *options)
    assert "6 rows for DPO, 1 ties left out" in done.out, done.err
    read = read_data(out, "auto")
    assert (read.format, read.rows) == ("preference", 6)
    row = json.loads(out.read_text().splitlines()[0])
    assert "where is parcel" in row["prompt"]
    texts = {court.says(model, row["prompt"]): model for model in (OLD, NEW)}
    assert row["origin"] == {"kind": "comparison", "model": texts[row["chosen"]], "judged_by": "dora"}
    assert texts[row["chosen"]] != texts[row["rejected"]]
    warned = {found.code for found in findings_of(read) if found.level == "warn"}
    assert not warned & {"synthetic_share", "model_collapse"}, "answers of the trained model are what DPO learns from"


@pytest.mark.parametrize(("columns", "beside_each_other"), [(120, True), (60, False)])
def test_a_terminal_is_asked_by_single_keys(
    court: Court,
    compare: Run,
    questions: Callable[[int], Path],
    tmp_path: Path,
    columns: int,
    beside_each_other: bool,
) -> None:
    prompts, file = questions(3), tmp_path / "run.jsonl"
    compare(OLD, NEW, prompts)
    state = court.stack.house.settings
    command = [sys.executable, "-m", "switchyard", "experiments", "compare", OLD, NEW, "--prompts", str(prompts)]
    command += ["--run", str(file), "--max-tokens", str(TOKENS), "--human", "--by", f"eve {columns}"]
    environment = {"SWITCHYARD_STATE_DIR": str(state.state_dir), "SWITCHYARD_PORT": str(state.port)}
    shown = bytes_on_a_terminal(command, columns, environment, typed="l\x1b[Dt").decode()
    assert f"3 of 3, eve {columns}" in shown
    assert "ties 1" in shown
    assert any("left" in line and "right" in line and "─" in line for line in shown.splitlines()) is beside_each_other
