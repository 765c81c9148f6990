"""Trackers by name: refused at once where they are missing, and told the course of a training where they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.live.installation import ROOT
from tests.support.tiny_recipe import tiny_recipe
from tests.support.training_jobs import order
from trainer.errors import RecipeError
from trainer.jobs.recipe_of import recipe_of
from trainer.recipe import Recipe, read_recipe
from trainer.tracking import check_trackers, tracked, trackers

TENSORBOARD = ROOT / "var" / "tensorboard"
"""Made on demand with `python -m tests.trainer.test_tracking`: the package is not among those of the lock."""
PROGRAM = """
import sys
sys.path.append(sys.argv[5])  # behind our own packages
from pathlib import Path
from trainer.pipeline import Plan, run
from trainer.watch import Unwatched
run(Plan(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), publish=False), Unwatched())
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
(folder,) = {file.parent for file in Path(sys.argv[4]).rglob("events.out*")}
found = EventAccumulator(str(folder)); found.Reload()
print([one.step for one in found.Scalars("train/loss")])
"""


def a_recipe(folder: Path, tracking: str) -> Recipe:
    rows = [
        {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
        for n in range(12)
    ]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[:8]))
    (folder / "heldout.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[8:]))
    (folder / "RECIPE.toml").write_text(f"{tiny_recipe(steps=3)}\n[tracking]\n{tracking}\n")
    return read_recipe(folder / "RECIPE.toml")


def test_a_tracker_that_is_not_installed_is_an_error_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RecipeError, match=r"names 'mlflow', which is not installed here; .*pip install mlflow"):
        check_trackers(a_recipe(tmp_path, 'report_to = ["mlflow"]'))


def test_an_unknown_tracker_is_told_which_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="'wandb', 'mlflow' or 'tensorboard'"):
        a_recipe(tmp_path, 'report_to = ["comet"]')


def test_a_tracker_that_is_not_told_where_to_report_to_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    recipe = a_recipe(tmp_path, 'report_to = ["wandb"]')
    with pytest.raises(RecipeError, match="WANDB_API_KEY is not set here"):
        check_trackers(recipe)
    monkeypatch.setenv("WANDB_API_KEY", "key")
    check_trackers(recipe)


def test_trackers_find_project_and_name_in_the_environment_and_only_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_ENTITY", "ours")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    recipe = a_recipe(
        tmp_path, 'report_to = ["wandb", "tensorboard"]\nproject = "p"\nentity = "theirs"\ntags = ["a", "b"]'
    )
    with tracked(recipe):
        assert (os.environ["WANDB_PROJECT"], os.environ["WANDB_NAME"], os.environ["WANDB_TAGS"]) == (
            "p", "acme/tiny", "a,b",
        )  # fmt: skip
        assert os.environ["WANDB_ENTITY"] == "ours"
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(tmp_path / "tensorboard")
    assert "WANDB_PROJECT" not in os.environ
    assert trackers(recipe.model) == ["wandb", "tensorboard"]


def test_without_trackers_nothing_is_put_into_the_environment(tmp_path: Path) -> None:
    before = dict(os.environ)
    with tracked(a_recipe(tmp_path, "")):
        assert dict(os.environ) == before


def test_a_jobs_integration_is_tracking_of_its_recipe() -> None:
    wanted = replace(order(), integrations=({"type": "wandb", "wandb": {"project": "p", "name": "n", "tags": ["a"]}},))
    text, _ = recipe_of(wanted, 12, validation_file=False)
    assert '[tracking]\nreport_to = [\n    "wandb",\n]\nproject = "p"\nrun_name = "n"' in text
    assert "[tracking]" not in recipe_of(order(), 12, validation_file=False)[0]


@pytest.mark.training
@pytest.mark.skipif(
    not (TENSORBOARD / ".ready").exists(),
    reason="needs tensorboard, which no lock has: make it with `python -m tests.trainer.test_tracking`",
)
def test_tensorboard_is_told_the_loss_of_every_step(base: Path, tmp_path: Path) -> None:
    a_recipe(tmp_path, 'report_to = ["tensorboard"]')
    done = subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM, tmp_path / "RECIPE.toml", base, tmp_path / "out"),
            *(tmp_path / "tensorboard", TENSORBOARD),
        ],
        cwd=ROOT,
        env={**os.environ, "SWITCHYARD_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[1, 2, 3]"


if __name__ == "__main__":
    subprocess.run([sys.executable, "-m", "pip", "install", "--target", TENSORBOARD, "tensorboard>=2.20"], check=True)
    (TENSORBOARD / ".ready").touch()
