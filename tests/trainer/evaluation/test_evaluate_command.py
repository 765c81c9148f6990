"""`switchyard evaluate`, as a person runs it beside a gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.names import parse_ref
from registry.storage.blobs import digest_of
from tests.support.cli_runner import Run, run
from tests.support.judge_server import judge_server
from tests.trainer.evaluation.conftest import TOKENS, Court

__all__ = ["run"]
NEW, OLD = "acme/triage@1.1", "acme/triage@1.0"


@pytest.fixture
def beside(run: Run, court: Court, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on the state folder of the court's gateway."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(court.stack.house.settings.state_dir))
    monkeypatch.setenv("SWITCHYARD_PORT", str(court.stack.house.settings.port))
    return run


def test_the_matrix_is_printed_and_the_key_that_was_made_is_revoked(court: Court, beside: Run) -> None:
    file = court.rows("command", [NEW] * 10 + [OLD] * 2)
    done = beside("evaluate", NEW, "--data", file, "--max-tokens", str(TOKENS), "--slice", "topic")
    assert done.status == 0, done.err
    heading, line, *_ = [one for one in done.out.splitlines() if "  " in one]
    assert heading.split()[:4] == ["ITEM", "INCUMBENT", "CANDIDATE", "IMPROVEMENT"]
    assert line.split()[:4] == ["label_exact", "0.167", "0.833", "+0.667"]
    assert line.endswith("better")
    assert "line 11, right before and wrong now: command 10: my refund is wrong." in done.out
    assert "label_exact, topic = parcel" in done.out
    made = [key for key in court.stack.house.registry.tenants.list_keys("acme") if key.label == "evaluation"]
    assert made
    assert all(key.revoked_at_ms is not None for key in made)


def test_scripts_get_one_document_and_a_picture_on_demand(court: Court, beside: Run, tmp_path: Path) -> None:
    file, picture = court.rows("document", [NEW] * 12), tmp_path / "matrix.svg"
    done = beside(
        *(
            "evaluate",
            NEW,
            "--data",
            file,
            "--json",
            "--plot",
            picture,
            "--against",
            "1.0",
            "--max-tokens",
            str(TOKENS),
        ),
        *("--key", court.stack.house.keys["acme"], "--url", court.stack.url),
    )
    assert done.status == 0, done.err
    (one,) = done.document["items"]
    assert (one["metric"], one["word"], one["units"]) == ("label_exact", "better", 12)
    assert done.document["data"]["digest"].startswith("sha256:")
    assert "improvement, 95 % interval" in picture.read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((OLD,), "acme/triage@1.0 is what acme/triage@production means: there is nothing to compare"),
        ((NEW, "--metric", "bleu"), "metric is 'bleu'; choose from label_exact"),
        ((NEW, "--plot", "matrix.gif"), "name a file that ends with .png or .svg"),
        ((NEW, "--plot", "/nowhere/matrix.svg"), "/nowhere is no folder"),
        (("acme/triage@7.0",), "there is no acme/triage@7.0"),
        ((NEW, "--metric", "regex:("), "is no regular expression"),
        ((NEW, "--harness", "mmlu", "--harness-set", "speed=9"), "--harness-set is 'speed=9'; expected KEY=VALUE"),
        ((NEW, "--harness", "mmlu", "--harness-set", "limit=0"), "limit cannot be that"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(court: Court, beside: Run, options: tuple[str, ...], told: str) -> None:
    done = beside("evaluate", *options, "--data", court.rows("one", [NEW]))
    assert (done.status, done.out) == (1, "")
    assert told in done.err
    assert "Traceback" not in done.err


def test_rows_that_are_none_are_listed_with_their_lines(beside: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"messages": []}\n{"prompt": 3}\n{"question": "?"}\n')
    done = beside("evaluate", NEW, "--data", file)
    assert done.status == 1
    for line in ("line 1: [missing_messages_list]", "line 2: [data_type]", "line 3: [missing_messages_list]"):
        assert line in done.err


def test_a_gate_is_set_evaluated_passed_and_cleared_by_commands(court: Court, beside: Run) -> None:
    file = court.rows("gate", [NEW] * 22 + [OLD] * 2)
    beside("evaluate", NEW, "--data", file, "--max-tokens", str(TOKENS))
    gate = ("--target", "label_exact", "--better-by", "0.1", "--guard", "rouge_l:0.05", "--data", file)
    try:
        told = beside("gates", "set", "acme/triage", *gate)
        assert "moves only to what is better on label_exact by more than 0.1, worse on rouge_l by 0.05" in told.out
        refused = beside("adapters", "promote", NEW)
        assert (refused.status, refused.out) == (1, "")
        assert "the certificate of acme/triage@1.1 is stale: the gate of acme/triage@production was set" in refused.err
        assert beside("adapters", "list", "acme", "--json").document[1]["gate"] == "stale"
        done = beside("evaluate", NEW, "--data", file, "--max-tokens", str(TOKENS))
        assert "verdict: passed" in done.out
        assert "target label_exact: +0.8333" in done.out
        assert "guard rouge_l" in done.out
        listed = beside("adapters", "list", "acme").out.splitlines()
        assert "passed" in next(line for line in listed if NEW in line).split()
        shown = beside("gates", "show", NEW)
        assert "passed: against acme/triage@1.0 on 24 rows of gate.jsonl" in shown.out
        certificate, *_ = beside("gates", "show", NEW, "--json").document["certificates"]
        assert beside("gates", "certificate", certificate["digest"][7:19]).document == certificate["document"]
        assert certificate["document"]["gate"]["data"] == certificate["document"]["data"]["digest"]
    finally:
        assert beside("gates", "clear", "acme/triage").out == "acme/triage@production has no gate any more\n"
    assert beside("gates", "show").out.startswith("no gate is set")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--target", "bleu"), "metric is 'bleu'; choose from"),
        (("--target", "loss", "--guard", "rouge_l"), "--guard is 'rouge_l'; expected METRIC:MARGIN"),
        (("--target", "loss", "--better-by", "-1"), "--better-by is -1.0; expected a number that is not negative"),
        (("--target", "loss", "--data", "/nowhere"), "--data is '/nowhere', which cannot be read"),
        (("--target", "loss", "--least-units", "0"), "--least-units is 0; expected 1 at least"),
    ],
)
def test_what_is_no_gate_is_one_sentence_with_the_option(beside: Run, options: tuple[str, ...], told: str) -> None:
    done = beside("gates", "set", "acme/triage", *options)
    assert (done.status, done.out) == (1, "")
    assert told in done.err


def test_a_judge_and_general_prompts_are_lines_of_the_same_matrix(court: Court, beside: Run) -> None:
    file = court.rows("further", [NEW] * 12)
    with judge_server(lambda prompt: '{"better": "A", "score": 5}') as url:
        done = beside(
            *("evaluate", NEW, "--data", file, "--max-tokens", str(TOKENS), "--general", "ours", "--talk", "ours"),
            *("--judge", "wise", "--judge-url", url),
        )
    assert done.status == 0, done.err
    lines = [line.split()[0] for line in done.out.splitlines() if line]
    items = ["label_exact", "judge", "judge_talk", "judge_score", "general_loss", "general_agreement"]
    assert [line for line in lines if line in items][:6] == items
    assert "judge by wise: candidate 0, incumbent 0, ties 12; 100% turned with the order" in done.out
    assert "the first place was preferred 100%" in done.out
    newest = court.stack.house.registry.gates.certificates(parse_ref(NEW))[0].document["settings"]
    assert newest["judges"] == {"judge": "wise", "judge_talk": "wise"}
    assert newest["general"].startswith("sha256:")
    assert newest["talks"].startswith("sha256:")


def test_conversations_without_a_judge_are_refused(court: Court, beside: Run) -> None:
    done = beside("evaluate", NEW, "--data", court.rows("talk", [NEW]), "--talk", "ours")
    assert (done.status, done.err) == (1, "error: --talk is for a judge; name one with --judge\n")


def test_rows_may_be_a_file_of_the_tenants_and_not_of_another(court: Court, beside: Run) -> None:
    registry, rows = court.stack.house.registry, court.rows("uploaded", [NEW] * 6)
    ids = {name: registry.files.create(name, "x.jsonl", "evals", [rows.read_bytes()]).id for name in ("acme", "globex")}
    done = beside("evaluate", NEW, "--data", ids["acme"], "--max-tokens", str(TOKENS), "--json")
    assert done.status == 0, done.err
    data = done.document["data"]
    assert (data["name"], data["rows"]) == (ids["acme"], 6)
    assert data["digest"] == digest_of(rows.read_bytes())
    others = beside("evaluate", NEW, "--data", ids["globex"])
    missing = beside("evaluate", NEW, "--data", "file-" + "0" * 24)
    assert (others.status, missing.status) == (1, 1)
    assert others.err.replace(ids["globex"], "ID") == missing.err.replace("file-" + "0" * 24, "ID")


def test_a_version_that_no_job_has_made_says_that_it_needs_a_file(beside: Run) -> None:
    done = beside("evaluate", NEW)
    assert done.status == 1
    assert "acme/triage@1.1 was made by no job here" in done.err
