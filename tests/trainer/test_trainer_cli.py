from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from switchyard.commands.base import base as base_command
from switchyard.commands.train import train
from switchyard.progress import ConsoleReporter
from trainer.watch import StepMetrics

ROOT = Path(__file__).parents[2]


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "fingerprint.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_bad_recipe_is_one_message_and_status_one(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[adapter]\ntenant = 'acme'\n")
    done = CliRunner().invoke(train, [str(recipe), "--no-publish"])
    assert done.exit_code == 1
    assert f"error: {recipe}: 3 fault(s)\n  adapter.name is missing; add it\n  data.train is missing" in done.stderr
    assert "Traceback" not in done.output


def test_bad_rows_are_listed_with_their_lines_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text((ROOT / "examples" / "sentiment" / "recipe.toml").read_text())
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "completion": " b"}\n{"prompt": "a"}\noops\n')
    (tmp_path / "heldout.jsonl").write_text('{"prompt": "a", "completion": " b"}\n')
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "switchyard", "train", str(recipe), "--no-publish"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "line 2: [missing_completion]" in done.stderr
    assert "line 3: [bad_json]" in done.stderr
    assert "| torch\n" not in done.stderr


def test_prepare_prints_the_folder_alone_on_stdout(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    done = CliRunner().invoke(base_command, ["prepare", str(folder)])
    assert (done.exit_code, done.stdout) == (0, f"{folder}\n")
    done = CliRunner().invoke(base_command, ["prepare", str(folder), "--json"])
    assert json.loads(done.stdout) == {"folder": str(folder)}


def test_prepare_says_what_is_wrong_with_a_source() -> None:
    done = CliRunner().invoke(base_command, ["prepare", "not a model"])
    assert done.exit_code == 1
    assert "error: base model 'not a model' is neither a folder nor a hub id" in done.stderr


class Terminal(io.StringIO):
    """A stream that says that somebody watches."""

    def isatty(self) -> bool:
        return True


def test_progress_without_a_terminal_is_a_few_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter() as reporter:
        reporter.stage("training")
        for step in range(1, 101):
            reporter.metrics(StepMetrics(step, 100, 1 / step))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1].endswith("step 100/100  loss 0.010  perplexity 1.01")


def test_a_line_of_progress_has_what_a_jobs_events_have(capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter() as reporter:
        reporter.metrics(StepMetrics(1, 2, full_valid_loss=0.7))
        reporter.metrics(StepMetrics(2, 2, 0.5, learning_rate=5e-4, grad_norm=1.25, tokens_per_second=310.4))
    assert (
        "step 2/2  loss 0.500  valid 0.700  perplexity 2.01  lr 0.0005  norm 1.25  310 tokens/s"
        in capsys.readouterr().err
    )


def test_a_bar_says_what_was_measured_and_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Terminal()
    monkeypatch.setattr(sys, "stderr", text)
    monkeypatch.setenv("COLUMNS", "120")
    with ConsoleReporter() as reporter:
        reporter.metrics(StepMetrics(1, 3, 0.5, tokens_per_second=310.4, seconds_left=3725.0))
    assert "1:02:05 left" in text.getvalue()
    assert "loss 0.500  perplexity 1.65  310 tokens/s" in text.getvalue()


def test_progress_on_a_terminal_is_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Terminal()
    monkeypatch.setattr(sys, "stderr", text)
    with ConsoleReporter() as reporter:
        reporter.metrics(StepMetrics(1, 2, full_valid_loss=0.7))
        reporter.metrics(StepMetrics(2, 2, 0.5))
        reporter.stage("evaluating")
    written = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in text.getvalue().splitlines()]
    (at,) = (number for number, line in enumerate(written) if line.endswith("evaluating"))
    assert not any("2/2" in line for line in written[at:])


def test_on_a_terminal_the_seconds_of_a_stage_are_counted_until_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = Terminal()
    monkeypatch.setattr(sys, "stderr", text)
    with ConsoleReporter() as reporter:
        reporter.stage("importing torch")
        assert re.search(r"0:0\d:\d\d", text.getvalue().partition("importing torch")[2])
        reporter.stage("training")
        reporter.metrics(StepMetrics(1, 2, 0.5))
        assert "loss 0.500" in text.getvalue(), "a bar takes its place"
    erased = "\x1b[2K"
    assert text.getvalue().rstrip("\n").endswith(erased)
