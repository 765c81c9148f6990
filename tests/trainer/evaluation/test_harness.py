"""Tasks of lm-evaluation-harness through the gateway. The real program is run where its environment is; `make
harness-test` makes that first, which takes minutes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.installation import ROOT
from tests.support.tiny_base import write_tiny_base
from tests.trainer.evaluation.conftest import Court
from trainer.errors import EvaluationError
from trainer.evaluation.harness import Harness, find_command, run_harness

NEW, OLD = "acme/triage@1.1", "acme/triage@1.0"
WANTED = "SWITCHYARD_TEST_HARNESS"
PACKAGES = ("lm_eval[api]==0.4.13", "transformers<5.20")
INSTALL_S = 280
PROGRAM = ROOT / "var" / "harness-0.4.13"
needs_harness = pytest.mark.skipif(
    WANTED not in os.environ and not (PROGRAM / ".ready").exists(),
    reason="needs lm-evaluation-harness, which no lock has: `make harness-test` installs it under var/ and runs this",
)
TASK = """
task: TASK
dataset_path: json
dataset_kwargs: {data_files: {test: DATA}}
test_split: test
doc_to_text: question
doc_to_target: answer
"""
WRITTEN = """
output_type: generate_until
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
CHOSEN = """
output_type: multiple_choice
doc_to_choice: choices
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


def script(tmp_path: Path, body: str) -> str:
    """A program in the harness's place."""
    file = tmp_path / "stand-in"
    file.write_text(f"#!{sys.executable}\nimport json, os, pathlib, sys\n{body}")
    file.chmod(0o755)
    return str(file)


def test_a_harness_that_is_not_there_is_told_with_what_to_install() -> None:
    with pytest.raises(EvaluationError, match=r"'no-such-program'.*pip install 'lm_eval\[api\]==0.4.13' transformers"):
        find_command("no-such-program")


def test_a_harness_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    program = script(tmp_path, "sys.exit('no such task: nonsense')")
    with pytest.raises(EvaluationError, match=r"failed at nonsense \(status 1\): no such task: nonsense"):
        run_harness(Harness(program, ("nonsense",), "http://127.0.0.1:9/v1", "sk-x"), (OLD, NEW))


def test_a_harness_that_does_not_end_is_ended(tmp_path: Path) -> None:
    program = script(tmp_path, "import signal; signal.pause()")
    with pytest.raises(EvaluationError, match=r"has not ended within 0\.1 seconds; ask fewer documents"):
        run_harness(Harness(program, ("mmlu",), "http://127.0.0.1:9/v1", "sk-x", limit_s=0.1), (OLD, NEW))


def test_documents_of_both_models_are_paired_by_task_and_number_and_the_first_filter_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", "what a program that runs what models write must not have")
    body = """
out = pathlib.Path(sys.argv[sys.argv.index('--output_path') + 1]) / 'model'
model = json.loads(sys.argv[sys.argv.index('--model_args') + 1])['model']
out.mkdir()
assert os.environ['OPENAI_API_KEY'] == 'sk-x' and 'sk-x' not in ' '.join(sys.argv)
assert not [name for name in os.environ if name.startswith('SWITCHYARD_')]
for task in ('one', 'two_2'):
    with (out / f'samples_{task}_2026-01-01T00-00-00.1.jsonl').open('w') as file:
        for number in range(6):
            right = model.endswith('1.1') or number == 5
            for name, score in (('none', right), ('loose', True)):
                row = {'doc_id': number, 'filter': name, 'metrics': ['acc', 'f1'], 'acc': float(score), 'f1': 0.5}
                file.write(json.dumps(row) + '\\n')
"""
    (item,) = run_harness(Harness(script(tmp_path, body), ("both",), "http://h/v1", "sk-x"), (OLD, NEW))
    assert (item.metric, item.units, item.rows) == ("harness:both", 12, 12)
    assert item.incumbent == pytest.approx(1 / 6)
    assert (item.candidate, item.word) == (1.0, "better")
    assert item.p == pytest.approx(2 / 2**10)


@pytest.fixture(scope="module")
def program() -> str:
    """The real one, in an environment of its own that is made once."""
    PROGRAM.parent.mkdir(exist_ok=True)
    with PROGRAM.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (PROGRAM / ".ready").exists():
            uv, python = str(Path(sys.executable).parent / "uv"), str(PROGRAM / "bin" / "python")
            make = [uv, "venv", "-q", "--clear", "--python", sys.executable, str(PROGRAM)]
            subprocess.run(make, check=True, timeout=INSTALL_S)
            subprocess.run([uv, "pip", "install", "-q", "--python", python, *PACKAGES], check=True, timeout=INSTALL_S)
            (PROGRAM / ".ready").touch()
    return str(PROGRAM / "bin" / "lm_eval")


def write_tasks(folder: Path, court: Court) -> None:
    """Two tasks of six documents, of which the candidate answers the first as it is right."""
    written = []
    for number in range(6):
        question = f"harness {number}: what is it?"
        written.append({"question": question, "answer": court.says(NEW, question)})
    chosen = [{"question": f"one {n}", "answer": n % 2, "choices": [" yes", " no"]} for n in range(6)]
    for name, rows, form in (("tiny_written", written, WRITTEN), ("tiny_chosen", chosen, CHOSEN)):
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        text = TASK.replace("TASK", name).replace("DATA", str(data)) + form
        (folder / f"{name}.yaml").write_text(text)


@needs_harness
def test_a_written_task_runs_by_the_chat_endpoint(court: Court, program: str, tmp_path: Path) -> None:
    write_tasks(tmp_path, court)
    url, key = f"{court.stack.url}/v1", court.stack.house.keys["acme"]
    harness = Harness(program, ("tiny_written",), url, key, include=tmp_path, chat=True)
    (item,) = run_harness(harness, (OLD, NEW))
    assert (item.metric, item.incumbent, item.candidate, item.units) == ("harness:tiny_written", 0.0, 1.0, 6)


@needs_harness
def test_a_task_of_choices_runs_by_likelihoods_with_the_bases_tokenizer(
    court: Court, program: str, tmp_path: Path
) -> None:
    write_tasks(tmp_path, court)
    url, key = f"{court.stack.url}/v1", court.stack.house.keys["acme"]
    tokenizer = write_tiny_base(tmp_path / "tokenizer")
    harness = Harness(program, ("tiny_chosen",), url, key, include=tmp_path, limit=4, tokenizer=tokenizer)
    (item,) = run_harness(harness, (OLD, NEW))
    assert (item.metric, item.units) == ("harness:tiny_chosen", 4)
    assert 0 <= item.candidate <= 1
