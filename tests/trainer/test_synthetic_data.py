"""Rows that a model writes: asked for over HTTP, kept apart, read by a person, and counted in a training."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_runner import Run, done, run
from tests.support.model_host import model_host
from tests.support.stack import Stack
from tests.support.terminal import bytes_on_a_terminal
from trainer.data.faults import DataError
from trainer.data.near import Known
from trainer.data.read import read_data
from trainer.data.report import findings_of
from trainer.data.split import HoldOut, split

__all__ = ["done", "run"]
NOUNS = ("valve", "ledger", "harbour", "violin", "glacier", "compiler", "orchard", "satellite", "tariff", "enzyme")


def samples(first: int, count: int) -> str:
    """Rows that are all different."""
    rows = [
        {"instruction": f"Explain {sha256(b'%d' % at).hexdigest()[:32]}.", "output": f"Step {at}: open it."}
        for at in range(first, first + count)
    ]
    return json.dumps({"samples": rows})


def drafts_in(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def openai_key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-1")
    return "sk-test-1"


def generate(run: Run, url: str | None, *more: str) -> Any:
    to = ["--base-url", f"{url}/v1"] if url else []
    return run("data", "generate", "--model", "big-model", "--out", "drafts.jsonl", *to, *more)


def test_topics_become_drafts_with_their_origin_and_what_they_cost(done: Run, openai_key: str, tmp_path: Path) -> None:
    with model_host(lambda number, _: samples(number * 100, 5)) as host:
        outcome = generate(
            done, host.url, "--topics", "pumps, tides", "--n", "7", "--price-in", "3", "--price-out", "15", "--json"
        )
    assert host.paths == ["/v1/chat/completions"] * 4
    assert {headers["authorization"] for headers in host.headers} == {f"Bearer {openai_key}"}
    assert host.bodies[0]["response_format"]["json_schema"]["schema"]["required"] == ["samples"]
    document = outcome.document
    assert (document["drafts"], document["requests"], document["prompt_tokens"]) == (14, 4, 400)
    assert document["dollars"] == pytest.approx((400 * 3 + 200 * 15) / 1e6)
    found = drafts_in(tmp_path / "drafts.jsonl")
    assert [draft["draft"]["topic"] for draft in found].count("tides") == 7
    assert {draft["draft"]["model"] for draft in found} == {"big-model"}


def test_a_person_is_told_what_drafts_are_not(done: Run, openai_key: str) -> None:
    with model_host(lambda number, _: samples(number * 100, 5)) as host:
        out = generate(done, host.url, "--topics", "pumps", "--n", "5").out
    assert "nobody has read them: `switchyard data review drafts.jsonl" in out
    assert "at most 30 should be synthetic" in out
    assert "model collapse" in out


def test_an_endpoint_of_anthropics_shape_is_asked_as_it_wants(done: Run, openai_key: str) -> None:
    with model_host(lambda number, _: f"Here you are:\n```json\n{samples(number * 100, 5)}\n```\n") as host:
        document = generate(done, host.url, "--api", "anthropic", "--topics", "pumps", "--n", "5", "--json").document
    assert host.paths == ["/v1/messages"]
    assert host.headers[0]["x-api-key"] == "sk-ant-1"
    assert host.headers[0]["anthropic-version"] == "2023-06-01"
    assert (document["drafts"], document["prompt_tokens"], document["answer_tokens"]) == (5, 100, 50)


def test_the_same_command_goes_on_where_it_ended(done: Run, run: Run, openai_key: str, tmp_path: Path) -> None:
    refused: Any = (401, {}, {"error": {"message": "no more"}})
    with model_host(lambda number, _: samples(0, 5) if number == 0 else refused) as host:
        outcome = generate(run, host.url, "--topics", "pumps", "--n", "10", "--concurrency", "1")
        assert outcome.status == 1
        assert "(HTTP 401): no more" in outcome.err
        assert "5 new drafts in drafts.jsonl" in outcome.err
        assert len(host.bodies) == 2
    with model_host(lambda number, _: samples(50, 5)) as host:
        assert generate(done, host.url, "--topics", "pumps", "--n", "10", "--json").document["drafts"] == 5
        assert "These are there already" in host.bodies[0]["messages"][1]["content"]
    with model_host(lambda number, _: samples(99, 5)) as host:
        assert generate(done, host.url, "--topics", "pumps", "--n", "10", "--json").document["requests"] == 0
    assert len(drafts_in(tmp_path / "drafts.jsonl")) == 10


def test_a_busy_endpoint_is_asked_again_and_one_without_formats_otherwise(done: Run, openai_key: str) -> None:
    def answer(number: int, body: dict[str, Any]) -> Any:
        if number == 0:
            return 429, {"retry-after": "0"}, {"error": {"message": "slow down"}}
        if "response_format" in body:
            return 400, {}, {"error": {"message": "response_format is not supported"}}
        if "max_tokens" in body:
            return 400, {}, {"error": {"message": "use max_completion_tokens"}}
        return samples(0, 5)

    with model_host(answer) as host:
        document = generate(done, host.url, "--topics", "pumps", "--n", "5", "--json").document
    assert (document["drafts"], len(host.bodies)) == (5, 4)


def test_copies_and_near_copies_do_not_become_drafts(done: Run, openai_key: str, tmp_path: Path) -> None:
    asked = "Explain how the valve of the northern pumping station is opened by hand."
    rows = [
        {"instruction": asked, "output": "Turn it."},
        {"instruction": asked.replace("by hand", "by hands"), "output": "Turn it."},
        {"instruction": "What is a tide?", "output": "Water."},
        {"instruction": "What else?", "output": " "},
        {"output": "Nothing."},
    ]
    (tmp_path / "real.jsonl").write_text(json.dumps({"prompt": "what is  a TIDE?", "completion": "x"}) + "\n")
    with model_host(lambda *_: json.dumps(rows)) as host:
        options = ("--topics", "pumps", "--n", "5", "--against", "real.jsonl", "--json")
        document = generate(done, host.url, *options).document
    assert document["drafts"] == 1
    assert document["duplicates"] >= 2
    assert document["unusable"] >= 2
    assert document["missing"] == {"pumps": 4}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, {}, {"choices": []}), "does not answer in the shape of openai"),
        ((200, {}, b"<html>"), "does not answer in the shape of openai"),
        ((404, {}, b"<html>not here</html>"), "(HTTP 404): <html>not here</html>"),
        ((302, {"location": "http://127.0.0.1:1/"}, {}), "(HTTP 302)"),
    ],
)
def test_an_endpoint_that_is_none_is_said(run: Run, openai_key: str, answer: Any, says: str) -> None:
    with model_host(lambda *_: answer) as host:
        outcome = generate(run, host.url, "--topics", "pumps", "--n", "5")
    assert outcome.status == 1
    assert says in outcome.err


def test_keys_come_from_the_environment_alone_and_are_never_shown(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY is not set" in generate(run, None, "--topics", "a").err
    monkeypatch.setenv("MY_KEY", "sk geheim")
    outcome = generate(run, "http://127.0.0.1:1", "--topics", "a", "--key-env", "MY_KEY")
    assert "MY_KEY holds characters that no key has" in outcome.err
    assert "geheim" not in outcome.err + outcome.out
    with model_host(lambda number, _: samples(0, 5)) as host:
        assert generate(run, host.url, "--topics", "a", "--n", "2").status == 0
    assert "authorization" not in host.headers[0]


def test_a_gateways_own_model_can_write(
    done: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", stack.house.keys["acme"])
    out = ("--out", "drafts.jsonl", "--base-url", f"{stack.url}/v1", "--json")
    document = done(
        "data", "generate", "--topics", "pumps", "--n", "2", "--model", "acme/triage", "--max-tokens", "500", *out
    ).document
    (draft,) = drafts_in(tmp_path / "drafts.jsonl")
    assert draft["row"] == {"instruction": "text", "output": "text"}  # all that the mock says in a form
    assert (document["drafts"], document["missing"]) == (1, {"pumps": 1})
    assert document["duplicates"] > 0
    assert document["answer_tokens"] > 0


def test_other_ways_to_ask_keep_the_answer_and_stay_on_the_side_of_their_row(
    done: Run, openai_key: str, tmp_path: Path
) -> None:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Where is the {noun}?"},
                {"role": "assistant", "content": f"At {at}."},
            ]
        }
        for at, noun in enumerate(NOUNS)
    ]
    (tmp_path / "real.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def answer(_: int, body: dict[str, Any]) -> str:
        noun = body["messages"][1]["content"].rpartition("the ")[2].rstrip("?")
        return json.dumps({"samples": [{"text": f"Could you tell me in which place one finds a {noun}, please?"}]})

    with model_host(answer) as host:
        to = ("--model", "big-model", "--out", "drafts.jsonl", "--base-url", host.url + "/v1")
        assert done("data", "augment", "real.jsonl", "--per-row", "1", *to, "--json").document["drafts"] == 10
    found = drafts_in(tmp_path / "drafts.jsonl")
    assert found[0]["draft"]["kind"] == "paraphrase"
    assert found[0]["row"]["messages"][1] in [row["messages"][1] for row in rows]
    mixed = [*rows, *(one["row"] | {"origin": {"kind": "paraphrase", "of": one["draft"]["of"]}} for one in found)]
    (tmp_path / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    parts = split(read_data(tmp_path / "mixed.jsonl", "auto"), HoldOut(0.3, 0))
    sides = [{example.completion for example in part.examples} for part in (parts.train, parts.heldout)]
    assert not sides[0] & sides[1]
    assert parts.heldout.rows == 6


def drafted(folder: Path, count: int) -> Path:
    lines = [
        {"draft": {"id": f"d{at}", "kind": "synthetic", "topic": "pumps", "model": "big", "api": "openai", "at": "now"},
         "row": {"instruction": f"Question {at}?", "output": f"Answer {at}."}}
        for at in range(count)
    ]  # fmt: skip
    file = folder / "drafts.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_drafts_are_not_trained_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\[unreviewed_draft\].*switchyard data review"):
        read_data(drafted(tmp_path, 2), "auto")


def test_a_person_accepts_edits_and_rejects_in_a_terminal(tmp_path: Path) -> None:
    file, out = drafted(tmp_path, 5), tmp_path / "reviewed.jsonl"
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/Answer 1/A better answer/' \"$1\"\n")
    editor.chmod(0o755)
    command = [sys.executable, "-m", "switchyard", "data", "review", str(file), "--out", str(out), "--by", "ann"]
    shown = bytes_on_a_terminal(command, 100, {"EDITOR": str(editor)}, typed="a\ne\nr\nwhat\ns\nq\n").decode()
    assert "Question 0?" in shown
    assert "2 of 5" in shown
    assert "2 to be read, 1 accepted, 1 edited, 1 rejected" in shown
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["output"] for row in rows] == ["Answer 0.", "A better answer."]
    assert rows[0]["origin"]["reviewed_by"] == "ann"
    assert rows[0]["origin"]["reviewed_at"].endswith("Z")
    data = read_data(out, "auto")
    assert [found.text for found in findings_of(data) if found.code == "synthetic_rows"] == [
        "2 of 2 rows (100%) are synthetic (by big)"
    ]


def test_without_a_terminal_nothing_is_accepted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = drafted(tmp_path, 2)
    refused = run("data", "review", file, "--out", "reviewed.jsonl")
    assert refused.status == 1
    assert "drafts are read by a person: run this in a terminal" in refused.err
    assert not Path("reviewed.jsonl").exists()
    assert run("data", "review", file, "--counts", "--json").document["draft"] == 2
    assert "--accept-all" not in run("data", "review", "--help").out


def test_a_review_writes_over_no_other_rows(run: Run, tmp_path: Path) -> None:
    file, out = drafted(tmp_path, 1), tmp_path / "mine.jsonl"
    out.write_text('{"prompt": "a", "completion": "b"}\n')
    refused = run("data", "review", file, "--counts", "--out", out)
    assert refused.status == 1
    assert "name another file" in refused.err
    assert out.read_text().count("\n") == 1


def test_a_file_that_holds_no_drafts_is_said(run: Run, tmp_path: Path, openai_key: str) -> None:
    (tmp_path / "drafts.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert "[no_draft]" in run("data", "review", "drafts.jsonl", "--counts").err
    assert "[no_draft]" in generate(run, "http://127.0.0.1:1", "--topics", "a").err
    assert "holds no draft" in run("data", "review", "none.jsonl", "--counts").err


def test_texts_are_known_exactly_or_nearly() -> None:
    known = Known()
    text = "explain how the valve of the northern pumping station is opened by hand"
    assert [known.take(one) for one in (text, text, text + "s", "what is a tide?", "what is a tide!")] == [
        True,
        False,
        False,
        True,
        True,
    ]
