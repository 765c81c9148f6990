"""`switchyard data check`, `stats`, `convert` and `split`, as a person and as a script see them."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_runner import Run, done, run
from tests.trainer.test_data_checks import GOOD, pair, prose

__all__ = ["done", "run"]
CHAT = {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}


def write(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def test_a_good_file_can_be_trained_on_and_some_rows_are_there_to_read(done: Run, tmp_path: Path) -> None:
    out = done("data", "check", write(tmp_path / "d.jsonl", GOOD)).out
    assert "60 rows of form completion, 60 answers" in out
    assert "nothing to say against it" in out
    assert out.count("to read:") == 3
    assert "can be trained on: no errors, no warnings" in out


def test_a_faulty_file_is_named_with_its_lines_and_status_1(run: Run, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.jsonl", [CHAT, {"messages": []}, "{oops"])
    good = write(tmp_path / "good.jsonl", GOOD)
    outcome = run("data", "check", bad, good)
    assert outcome.status == 1
    assert "line 2: [missing_messages_list]" in outcome.out
    assert "line 3: [bad_json]" in outcome.out
    assert "good.jsonl can be trained on" in outcome.out
    first, second = run("data", "check", bad, good, "--json").document
    assert [fault["code"] for fault in first["faults"]] == ["missing_messages_list", "bad_json"]
    assert (first["usable"], second["usable"]) == (False, True)
    assert second["digest"] == hashlib.sha256(good.read_bytes()).hexdigest()


def test_warnings_are_no_errors_unless_they_are_to_be(run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", [*GOOD, GOOD[0]])
    assert run("data", "check", file).status == 0
    assert run("data", "check", file, "--strict").status == 1


def test_heldout_rows_may_have_fields_to_slice_by_and_misspelt_ones_are_told(run: Run, tmp_path: Path) -> None:
    train = write(tmp_path / "t.jsonl", GOOD)
    sliced = write(tmp_path / "h.jsonl", [{**pair("another", "one"), "channel": "mail"}])
    assert run("data", "check", train, "--heldout", sliced).status == 0
    misspelt = write(tmp_path / "m.jsonl", [{**CHAT, "tool": []}])
    assert "unknown key 'tool'" in run("data", "check", train, "--heldout", misspelt, "--format", "auto").out
    assert "unknown key 'channel'" in run("data", "check", sliced).out


def test_heldout_rows_that_are_training_rows_or_nearly_are_found(done: Run, tmp_path: Path) -> None:
    asked = "How do I reset the password of my account on the website?"
    train = write(tmp_path / "t.jsonl", [*GOOD, pair(asked, prose(1))])
    heldout = write(tmp_path / "h.jsonl", [GOOD[1], pair(asked.replace("website", "web site"), prose(2))])
    (document,) = done("data", "check", train, "--heldout", heldout, "--json").document
    found = {one["code"]: one["lines"] for one in document["findings"]}
    assert (found["leak"], found["near_leak"]) == ([1], [2])


def test_answers_are_held_against_a_schema(run: Run, tmp_path: Path) -> None:
    rows = [pair(one["prompt"], json.dumps({"team": "a", "n": at})) for at, one in enumerate(GOOD)]
    rows[4]["completion"] = '{"team": 7, "n": 4}'
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": {"team": {"type": "string"}}}))
    outcome = run("data", "check", write(tmp_path / "d.jsonl", rows), "--schema", schema)
    assert outcome.status == 1
    assert "line 5: $.team: 7 is not of type 'string'" in outcome.out
    schema.write_text('{"type": "objekt"}')
    assert "is no JSON schema" in run("data", "check", tmp_path / "d.jsonl", "--schema", schema).err


def test_the_sample_is_a_sheet_for_an_expert(done: Run, run: Run, tmp_path: Path) -> None:
    file = write(
        tmp_path / "d.jsonl", [pair("=1+1", one["completion"]) | {"prompt": "=" + one["prompt"]} for one in GOOD]
    )
    sheet = tmp_path / "sheet.csv"
    done("data", "check", file, "--sample", "5", "--sample-to", sheet)
    rows = list(csv.reader(sheet.read_text("utf-8-sig").splitlines()))
    assert rows[0] == ["line", "prompt", "answer", "correct (yes or no)", "comment"]
    assert len(rows) == 6
    assert all(row[1].startswith("'=") for row in rows[1:])
    again = run("data", "check", file, "--sample-to", sheet)
    assert again.status == 1
    assert "give the name of a new file" in again.out


def test_presidio_is_asked_by_name_only(run: Run, tmp_path: Path) -> None:
    refused = run("data", "check", write(tmp_path / "d.jsonl", GOOD), "--presidio")
    assert refused.status == 1
    assert "pip install presidio-analyzer" in refused.err


@pytest.mark.training
def test_lengths_in_tokens_are_a_picture_and_limits_are_told(done: Run, base: Path, tmp_path: Path) -> None:
    file = write(
        tmp_path / "d.jsonl", [CHAT, {"messages": [CHAT["messages"][0], {"role": "assistant", "content": "x" * 300}]}]
    )
    out = done("data", "stats", file, "--base", base).out
    assert "row, tokens" in out
    assert "████" in out
    assert "256" in out.partition("ROWS LONGER")[2]
    document = done("data", "stats", file, "--base", base, "--json").document
    assert document["tokens"]["answer"]["max"] == 301  # a byte a token, and the stop token
    assert document["tokens"]["longer_than"] == {"256": 1}
    limited = done("data", "check", file, "--base", base, "--max-length", "64")
    assert "1 of 2 rows are longer than 64 tokens" in limited.out
    assert "give --base" in done("data", "stats", file).out
    assert "there is no base" in run_of(done, "data", "stats", file, "--base", "org/none")


def run_of(done: Run, *arguments: str | Path) -> str:
    with pytest.raises(AssertionError) as failed:
        done(*arguments)
    return str(failed.value)


@pytest.mark.parametrize(
    ("rows", "to", "expected"),
    [
        ([{"instruction": "a", "input": "b", "output": "c"}], "chat",
         {"messages": [{"role": "user", "content": "a\n\nb"}, {"role": "assistant", "content": "c"}]}),
        ([pair("a", "b")], "instruction", {"instruction": "a", "input": "", "output": "b"}),
        ([CHAT], "completion", {"prompt": "Hi?", "completion": "Hello."}),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], "openai-preference",
         {"input": {"messages": [{"role": "user", "content": "a"}]},
          "preferred_output": [{"role": "assistant", "content": "b"}],
          "non_preferred_output": [{"role": "assistant", "content": "c"}]}),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], "preference",
         {"prompt": "a", "chosen": "b", "rejected": "c"}),
        ([pair("a", "b") | {"origin": {"kind": "synthetic", "model": "m", "reviewed_by": "ann"}}], "completion",
         {"prompt": "a", "completion": "b", "origin": {"kind": "synthetic", "model": "m", "reviewed_by": "ann"}}),
    ],
)  # fmt: skip
def test_rows_are_written_in_another_form(done: Run, tmp_path: Path, rows: list[Any], to: str, expected: Any) -> None:
    file = tmp_path / "d.json"
    file.write_text(json.dumps(rows))
    done("data", "convert", file, "--to", to, "--out", tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [expected]


def said(*turns: str) -> dict[str, Any]:
    """A chat of a user and an assistant in turns."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]}


def message(id_: str, of: str | None, role: str, text: str, **more: Any) -> dict[str, Any]:
    """As OpenAssistant has them."""
    return {"message_id": id_, "parent_id": of, "role": role, "text": text, "lang": "en", **more}


SHAREGPT = {"id": "x", "conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]}
DOLLY = {"instruction": "Name it.", "context": "A red fruit.", "response": "Apple", "category": "closed_qa"}
TREE = [
    message("a", None, "prompter", "Hi?"),
    message("b", "a", "assistant", "Go away.", rank=1),
    message("c", "a", "assistant", "Hello.", rank=0),
    message("d", "c", "prompter", "And now?"),
    message("e", "d", "assistant", "Spam", deleted=True),
    message("f", None, "prompter", "Who?"),
    message("g", "f", "assistant", "Me."),
]
WHOLE_TREE = {
    "message_tree_id": "a",
    "tree_state": "ready_for_export",
    "prompt": TREE[0] | {"replies": [TREE[1], TREE[2] | {"replies": [TREE[3] | {"replies": [TREE[4]]}]}]},
}
ALPACA = {"instruction": "Name it.", "input": "", "output": "Apple", "text": "Below is an instruction …"}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([SHAREGPT], [said("Hi?", "Hello.")]),
        ([SHAREGPT | {"system": "Be kind."}],
         [{"messages": [{"role": "system", "content": "Be kind."}, *said("Hi?", "Hello.")["messages"]]}]),
        ([DOLLY], [said("Name it.\n\nA red fruit.", "Apple")]),
        ([DOLLY | {"context": ""}], [said("Name it.", "Apple")]),
        ([{"inputs": "1 + 1 =", "targets": "2", "task_name": "sums"}], [said("1 + 1 =", "2")]),
        (TREE, [said("Hi?", "Hello."), said("Who?", "Me.")]),
        ([WHOLE_TREE, {"message_tree_id": "f", "prompt": TREE[5] | {"replies": [TREE[6]]}}],
         [said("Hi?", "Hello."), said("Who?", "Me.")]),
        ([ALPACA], [said("Name it.", "Apple")]),
    ],
)  # fmt: skip
def test_rows_of_public_sets_are_refused_with_the_command_that_rewrites_them(
    done: Run, run: Run, tmp_path: Path, rows: list[Any], expected: list[Any]
) -> None:
    file, out = write(tmp_path / "d.jsonl", rows), tmp_path / "out.jsonl"
    refused = run("data", "check", file)
    assert refused.status == 1
    assert "[public_set]" in refused.out
    assert "`switchyard data convert FILE --to chat --out NEW`" in refused.out
    facts = done("data", "convert", file, "--to", "chat", "--out", out, "--json").document
    assert [json.loads(line) for line in out.read_text().splitlines()] == expected
    assert facts["rows"] == len(expected)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"conversations": "Hi"}, "missing_messages_list"),
        ({"conversations": ["Hi"]}, "data_type"),
        ({"conversations": [{"from": "tool", "value": 1}]}, "message_missing_key"),
        ({"conversations": [{"from": ["human"], "value": "a"}]}, "unrecognized_role"),
        (DOLLY | {"response": 7}, "data_type"),
        (message("a", None, "prompter", "Hi?"), "example_missing_assistant_message"),
        (message("a", None, ["prompter"], 7), "unrecognized_role"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_wrong_with_such_a_row_is_told_as_of_any_other(run: Run, tmp_path: Path, row: Any, code: str) -> None:
    file = write(tmp_path / "d.jsonl", [SHAREGPT, row] if "conversations" in row else [row])
    refused = run("data", "convert", file, "--to", "chat", "--out", tmp_path / "out.jsonl")
    assert refused.status == 1
    assert f"[{code}]" in refused.err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_chat_with_tools_and_weights_stays_what_it_is(done: Run, tmp_path: Path) -> None:
    from tests.trainer.test_data_forms import ANSWER, ASKED, CALLS, TOLD, WEATHER

    row = {"messages": [ASKED, CALLS | {"content": "", "weight": 0}, TOLD, ANSWER], "tools": [WEATHER]}
    file = write(tmp_path / "d.jsonl", [row])
    done("data", "convert", file, "--to", "chat", "--out", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text()) == row


def test_rows_that_would_lose_something_are_named_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    long = {"messages": [*CHAT["messages"], *CHAT["messages"]]}
    refused = run(
        "data", "convert", write(tmp_path / "d.jsonl", [CHAT, long]), "--to", "completion", "--out", tmp_path / "o"
    )
    assert refused.status == 1
    assert "line 2: [cannot_convert]" in refused.err
    assert not (tmp_path / "o").exists()
    assert (
        "choose from chat" in run("data", "convert", tmp_path / "d.jsonl", "--to", "xml", "--out", tmp_path / "o").err
    )


def test_a_split_makes_its_folder_and_writes_both_files_or_none(done: Run, run: Run, tmp_path: Path) -> None:
    file = write(tmp_path / "d.jsonl", GOOD)
    facts = done("data", "split", file, "--out", tmp_path / "new" / "parts", "--json").document
    assert Path(facts["train"]).parent == tmp_path / "new" / "parts"
    Path(facts["train"]).unlink()
    assert run("data", "split", file, "--out", tmp_path / "new" / "parts").status == 1
    assert not Path(facts["train"]).exists()
    assert "cannot be made one" in run("data", "split", file, "--out", file / "x").err


def test_a_split_writes_both_sides_as_they_were_and_never_over_a_file(done: Run, run: Run, tmp_path: Path) -> None:
    rows = GOOD[:10]
    file = write(tmp_path / "d.jsonl", rows)
    facts = done("data", "split", file, "--share", "0.2", "--json").document
    train = [json.loads(line) for line in Path(facts["train"]).read_text().splitlines()]
    held = [json.loads(line) for line in Path(facts["heldout"]).read_text().splitlines()]
    assert (len(train), len(held)) == (8, 2)
    assert sorted(map(str, [*train, *held])) == sorted(map(str, rows))
    again = run("data", "split", file)
    assert again.status == 1
    assert again.err.count("is there already; remove it, or give another folder") == 2
