"""A job's child process: what it says, what it leaves, and that one that was killed is gone on from."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest

from tests.support.training_jobs import assign, assigned, chat_rows, order, resume, weights_digest
from trainer.jobs.child import work
from trainer.jobs.executors import LocalExecutor
from trainer.jobs.faults import failure_of
from trainer.jobs.folder import Assignment, JobFolder
from trainer.jobs.lines import STOPPED, Event, Failed, Finished, Line, Measured, Prepared, Saved, of_line
from trainer.jobs.watching import ChildWatch
from trainer.recipe import read_recipe

pytestmark = pytest.mark.training


def worked(folder: JobFolder) -> list[Line]:
    """What a child would say, in this process."""
    said: list[Line] = []
    assignment = Assignment.read(folder.path)
    try:
        work(assignment, folder, ChildWatch(said.append, folder, assignment))
    except Exception as error:
        said += failure_of(error, folder, assignment.order) or []
    return said


def of(kind: type[Line], said: list[Line]) -> list[Line]:
    return [line for line in said if isinstance(line, kind)]


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, list[Line], list[Line]]:
    """A job that nothing happened to: its folder, and what was said of its validation and its training."""
    folder = assigned(base, tmp_path_factory.mktemp("jobs") / "whole", rows=chat_rows(12), checkpoint_steps=2)
    validated = worked(folder)
    assign(folder, work="train")
    return folder, validated, worked(folder)


def test_validation_counts_the_rows_and_settles_the_recipe(whole: tuple[JobFolder, list[Line], list[Line]]) -> None:
    folder, said, _ = whole
    (settled,) = of(Prepared, said)
    assert isinstance(settled, Prepared)
    assert settled.hyperparameters == {"n_epochs": 3, "batch_size": 4}
    recipe = read_recipe(folder.recipe)
    assert recipe.text == settled.recipe
    assert (recipe.model.training.seed, recipe.model.adapter.name) == (7, "tuned")
    assert (recipe.model.training.epochs, recipe.model.training.batch_size) == (3, 4)
    finished = said[-1]
    assert isinstance(finished, Finished)
    assert (finished.facts["train_rows"], finished.facts["heldout_rows"]) == (10, 2)
    quote = finished.facts["quote"]
    assert (quote["steps"], quote["rows"], quote["time"]) == (9, 10, None)
    assert quote["prompt_tokens"] > quote["answer_tokens"] > 20


def test_training_tells_every_step_and_leaves_adapter_lineage_and_course(
    whole: tuple[JobFolder, list[Line], list[Line]],
) -> None:
    folder, _, said = whole
    steps = [line.metrics.step for line in said if isinstance(line, Measured) and line.metrics.train_loss is not None]
    assert steps == list(range(1, 10))
    assert [line.step for line in said if isinstance(line, Saved)] == [2, 3, 9]  # nobody takes them away
    assert isinstance(said[-1], Finished)
    assert said[-1].trained_tokens == json.loads(folder.lineage.read_text())["trained_tokens"] > 300
    assert json.loads(folder.lineage.read_text())["steps"] == 9
    assert (folder.out / "effect_proof.json").is_file()
    with folder.results.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 10)]
    assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert folder.curve.read_text().startswith("<?xml")


def test_a_dry_run_is_quoted_with_a_time_that_was_measured(base: Path, tmp_path: Path) -> None:
    said = worked(assigned(base, tmp_path / "job", rows=chat_rows(12), wanted=order(dry_run=True)))
    finished = said[-1]
    assert isinstance(finished, Finished)
    assert finished.facts["quote"]["time"]["seconds"] > 0
    assert finished.facts["quote"]["fits"] is True


def test_what_was_quoted_is_compared_with_what_it_took(
    base: Path, whole: tuple[JobFolder, list[Line], list[Line]]
) -> None:
    finished = whole[2][-1]
    assert isinstance(finished, Finished)
    assert finished.facts["quote_against_actual"]["steps"]["actual"] == 9


def test_no_line_names_a_path_of_the_machine(whole: tuple[JobFolder, list[Line], list[Line]]) -> None:
    folder, validated, trained = whole
    told = [line.message for line in [*validated, *trained] if isinstance(line, Event)]
    assert told
    assert not [text for text in told if str(folder.path.parent) in text]


@pytest.mark.starts_anew
def test_a_child_that_waited_with_its_libraries_and_is_stopped_is_gone_on_from_with_the_same_adapter(
    base: Path, whole: tuple[JobFolder, list[Line], list[Line]], tmp_path: Path
) -> None:
    folder = assigned(base, tmp_path / "job", rows=chat_rows(12), work="train", checkpoint_steps=4)
    folder.recipe.write_text(whole[0].recipe.read_text())
    executor = LocalExecutor(threads=1, niceness=1)
    executor.prepare()
    running = executor.start(folder)
    said: list[Line] = []
    while running.status is None:
        line = of_line(running.next_line(1.0) or "")
        said += [] if line is None else [line]
        if isinstance(line, Saved) and line.step == 4:
            running.stop()
    assert running.status == STOPPED, folder.log.read_text()
    newest = max(line.step for line in said if isinstance(line, Saved))
    assert newest >= 4
    resume(folder, newest)
    again = worked(folder)
    assert isinstance(again[-1], Finished)
    steps = [line.metrics.step for line in again if isinstance(line, Measured)]
    assert min(steps) == newest + 1
    assert weights_digest(folder) == weights_digest(whole[0])
    assert folder.results.read_text() == whole[0].results.read_text()
    assert json.loads(folder.lineage.read_text()) == json.loads(whole[0].lineage.read_text())


@pytest.mark.parametrize(
    ("rows", "code", "says"),
    [
        (
            '{"messages": [{"role": "user", "content": "a"}]}\n',
            "invalid_training_file",
            "example_missing_assistant_message",
        ),
        ("not json\n" + chat_rows(12), "invalid_training_file", "line 1"),
        (chat_rows(12, answer="x" * 300), "invalid_training_file", "too_long"),
    ],
)
def test_faults_of_the_rows_are_events_with_their_lines(
    base: Path, tmp_path: Path, rows: str, code: str, says: str
) -> None:
    folder = assigned(base, tmp_path / "job", rows=rows)
    said = worked(folder)
    failed = said[-1]
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == (code, "training_file")
    assert says in failed.message
    told = [line for line in said if isinstance(line, Event) and line.level == "error"]
    assert told[0].data["line"] == 1
    assert str(tmp_path) not in failed.message


def test_a_base_that_does_not_load_is_the_models_fault_and_names_no_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = worked(assigned(tmp_path / "empty", tmp_path / "job", rows=chat_rows(12)))
    assert isinstance(said[-1], Failed)
    assert (said[-1].code, said[-1].param) == ("base_model_unusable", "model")
    assert str(tmp_path) not in said[-1].message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 12 bytes"),
            "out_of_memory",
        ),
        (OSError(28, "No space left on device"), "disk_full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "disk_full"),
        (ZeroDivisionError("division by zero"), "server_error"),
    ],
)
def test_what_the_machine_lacks_is_told_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, code: str
) -> None:
    (failed,) = failure_of(error, JobFolder(tmp_path), order()) or []
    assert isinstance(failed, Failed)
    assert failed.code == code
    assert "order" in failed.message
    assert type(error).__name__ in capsys.readouterr().err


def test_a_child_that_waits_ends_when_it_is_dismissed() -> None:
    executor = LocalExecutor(threads=1, niceness=1)
    executor.prepare()
    spare = executor._spare
    assert spare is not None
    executor.dismiss()
    assert spare._process.returncode == -signal.SIGKILL


@pytest.mark.starts_anew
def test_a_child_is_what_the_kernel_ends_first_and_has_no_setting_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", "a secret")
    executor = LocalExecutor(threads=1, niceness=1)
    executor.prepare()
    try:
        assert executor._spare is not None
        its = Path(f"/proc/{executor._spare._process.pid}")
        assert (its / "oom_score_adj").read_text() == "1000\n"
        environment = (its / "environ").read_bytes()
        assert b"OMP_NUM_THREADS=1" in environment
        assert b"SWITCHYARD_" not in environment
    finally:
        executor.dismiss()
