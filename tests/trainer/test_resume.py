"""A training that was stopped and resumed is the training that was not: same weights, same losses."""

from __future__ import annotations

import hashlib
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.tiny_recipe import tiny_recipe
from trainer.data.encode import Encoded
from trainer.errors import TrainingRefused, TrainingStopped
from trainer.methods.loading import load_base
from trainer.methods.results import Trained, save_trained
from trainer.methods.rows import Rows
from trainer.methods.training import train
from trainer.recipe import RecipeModel, read_recipe
from trainer.reporting import reporter_of
from trainer.watch import Order, StepMetrics, Unwatched

pytestmark = pytest.mark.training
STEPS = 7


@dataclass
class Stopping(Unwatched):
    """Saves at one step and stops at another; what was saved lies in `kept`."""

    kept: Path
    save_at: int = 0
    stop_at: int = 0
    seen: list[StepMetrics] = field(default_factory=list)

    def metrics(self, measured: StepMetrics) -> None:
        self.seen.append(measured)

    def after(self, step: int, total_steps: int) -> Order:
        return "stop" if step == self.stop_at else "save" if step == self.save_at else "go"

    def checkpoint(self, step: int, folder: Path) -> None:
        shutil.copytree(folder, self.kept / str(step))


def rows() -> Rows:
    return Rows([Encoded(line, (40 + line, 41, 42), (50 + line % 5, 2)) for line in range(20)])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> RecipeModel:
    """With dropout, so that the state of the random numbers matters; three steps an epoch."""
    folder = tmp_path_factory.mktemp("recipe")
    for name in ("train.jsonl", "heldout.jsonl"):
        (folder / name).write_text("")
    text = tiny_recipe(steps=STEPS, rate=1e-2).replace("[training]", "dropout = 0.2\n[training]")
    (folder / "recipe.toml").write_text(text)
    return read_recipe(folder / "recipe.toml").model


def digest(trained: Trained, folder: Path) -> str:
    save_trained(trained, folder)
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def whole(base: Path, recipe: RecipeModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, str]:
    trained = train(load_base(base), rows(), recipe)
    return trained, digest(trained, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop_at", [2, 3, 5])  # within an epoch, at its end, within the second
def test_a_training_that_is_stopped_and_resumed_gives_the_same_adapter(
    base: Path, recipe: RecipeModel, whole: tuple[Trained, str], tmp_path: Path, stop_at: int
) -> None:
    watch = Stopping(tmp_path, stop_at=stop_at)
    with pytest.raises(TrainingStopped, match=f"after step {stop_at}"):
        train(load_base(base), rows(), recipe, watch)
    assert [measured.step for measured in watch.seen] == list(range(1, stop_at + 1))
    second = Stopping(tmp_path)
    trained = train(load_base(base), rows(), recipe, second, resume_from=tmp_path / str(stop_at))
    assert [measured.step for measured in second.seen] == list(range(stop_at + 1, STEPS + 1))
    assert digest(trained, tmp_path / "out") == whole[1]
    assert (trained.steps, trained.train_loss, trained.trained_tokens) == (
        whole[0].steps,
        whole[0].train_loss,
        whole[0].trained_tokens,
    )


def test_a_checkpoint_changes_nothing_and_one_of_the_last_step_is_the_end(
    base: Path, recipe: RecipeModel, whole: tuple[Trained, str], tmp_path: Path
) -> None:
    saving = train(load_base(base), rows(), recipe, Stopping(tmp_path, save_at=STEPS))
    assert digest(saving, tmp_path / "out") == whole[1]
    watch = Stopping(tmp_path)
    again = train(load_base(base), rows(), recipe, watch, resume_from=tmp_path / str(STEPS))
    assert digest(again, tmp_path / "again") == whole[1]
    assert watch.seen == []
    assert again.train_loss == whole[0].train_loss


def test_a_training_goes_on_from_an_adapter(
    base: Path, recipe: RecipeModel, whole: tuple[Trained, str], tmp_path: Path
) -> None:
    first = Stopping(tmp_path)
    train(load_base(base), rows(), recipe, first)
    save_trained(whole[0], tmp_path / "adapter")
    second = Stopping(tmp_path)
    further = train(load_base(base), rows(), recipe, second, start_from=tmp_path / "adapter")
    assert second.seen[0].train_loss is not None
    assert first.seen[0].train_loss is not None
    assert second.seen[0].train_loss < first.seen[0].train_loss
    assert digest(further, tmp_path / "out") != whole[1]


def test_every_step_says_what_was_measured(base: Path, recipe: RecipeModel, tmp_path: Path) -> None:
    watch = Stopping(tmp_path)
    train(load_base(base), rows(), recipe, watch)
    last = watch.seen[-1]
    assert (last.step, last.total_steps) == (STEPS, STEPS)
    assert last.train_mean_token_accuracy is not None
    assert 0 <= last.train_mean_token_accuracy <= 1
    assert last.grad_norm is not None
    assert last.learning_rate is not None
    assert last.tokens_per_second is not None
    assert last.tokens_per_second > 0


def test_a_loss_that_is_no_number_ends_the_training(base: Path, recipe: RecipeModel) -> None:
    broken = load_base(base)
    broken.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingRefused, match="the loss of step 1 is no number"):
        train(broken, rows(), recipe)


def test_what_is_no_number_is_not_told_as_a_measurement(tmp_path: Path) -> None:
    watch = Stopping(tmp_path)
    state = SimpleNamespace(global_step=2, max_steps=9, num_input_tokens_seen=70)
    reporter = reporter_of(watch)
    reporter.on_log(None, state, None, logs={"loss": 1.5, "grad_norm": math.nan, "learning_rate": 1e-3})
    reporter.on_log(None, state, None, logs={"eval_loss": math.inf})
    (found,) = watch.seen
    assert (found.train_loss, found.grad_norm, found.learning_rate) == (1.5, None, 1e-3)
    with pytest.raises(TrainingRefused, match="the loss of step 2 is no number"):
        reporter.on_log(None, state, None, logs={"loss": math.nan})
