"""What losses and gradients say of a training: no model is needed to know it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from registry.training.sections import TrainingOptions
from trainer.methods.arguments import evaluate_every
from trainer.methods.signs import WINDOW, Evaluated, WarningSigns, evaluations, overfits_since, overfitting


@pytest.mark.parametrize(
    ("training", "learnt", "valid", "every"),
    [
        ({"max_steps": 1000}, 8000, 100, 100),  # ten times
        ({"max_steps": 20}, 1400, 256, 20),  # once: 256 rows to look at cost half of learning 160
        ({"epochs": 3}, 800, 120, 50),  # 300 steps of 8 rows: 0.3 · 2400 / 120 = 6 times
        ({"epochs": 3, "eval_steps": 7}, 800, 120, 7),
        ({"epochs": 3}, 800, 0, None),
        ({"epochs": 1}, 3, 9, 1),
    ],
)
def test_held_out_rows_are_looked_at_as_often_as_takes_a_tenth_of_the_time(
    training: dict[str, Any], learnt: int, valid: int, every: int | None
) -> None:
    recipe = TrainingOptions.model_validate({"training": training, "evaluation": {}})
    assert evaluate_every(recipe, learnt, valid) == every


def of(*losses: tuple[float, float]) -> list[Evaluated]:
    """Evaluations every ten steps: validation loss and training loss."""
    return [Evaluated(10 * at, valid, train) for at, (valid, train) in enumerate(losses, 1)]


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ([(2.0, 2.0), (1.5, 1.4), (1.6, 1.0), (1.8, 0.6)], 20),
        ([(2.0, 2.0), (1.5, 1.4), (1.6, 1.0)], None),  # once may be chance
        ([(2.0, 2.0), (1.5, 1.4), (1.501, 1.0), (1.502, 0.6)], None),  # noise
        ([(2.0, 2.0), (1.5, 1.4), (1.6, 1.5), (1.8, 1.9)], None),  # both rise: that is no overfitting
        ([(2.0, 2.0), (1.5, 1.4), (1.6, 1.0), (1.4, 0.6)], None),  # it got better again
        ([(2.0, 2.0), (1.8, 1.4)], None),
        ([], None),
    ],
)
def test_it_overfits_when_only_learnt_rows_get_better(losses: list[tuple[float, float]], since: int | None) -> None:
    assert overfits_since(of(*losses)) == since


def test_it_is_said_at_the_evaluation_that_shows_it_and_not_again() -> None:
    found = of((2.0, 2.0), (1.5, 1.4), (1.6, 1.0), (1.8, 0.6), (2.0, 0.4))
    assert overfitting(found[:3], kept=False) is None
    assert "since step 20" in (overfitting(found[:4], kept=False) or "")
    assert "will be kept" in (overfitting(found[:4], kept=True) or "")
    assert overfitting(found, kept=False) is None


def test_a_training_loss_is_the_mean_since_the_evaluation_before() -> None:
    history = [
        {"step": 1, "loss": 3.0},
        {"step": 2, "loss": 1.0},
        {"step": 2, "eval_loss": 2.5},
        {"step": 3, "loss": 0.5},
        {"step": 3, "eval_loss": 2.0},
        {"step": 3, "train_runtime": 1.0},
    ]
    assert evaluations(history) == [Evaluated(2, 2.5, 2.0), Evaluated(3, 2.0, 0.5)]


def said(losses: list[float], norms: list[float] | None = None) -> dict[int, list[str]]:
    signs = WarningSigns(max_grad_norm=1.0)
    norms = norms or [1.0] * len(losses)
    told = {step: signs.after(step, *both) for step, both in enumerate(zip(losses, norms, strict=True), 1)}
    return {step: texts for step, texts in told.items() if texts}


def test_a_loss_that_grows_is_a_divergence_said_once_with_a_remedy() -> None:
    told = said([2.0] * WINDOW + [1.0] * WINDOW + [6.0] * WINDOW)
    ((step, (text,)),) = told.items()
    assert 2 * WINDOW < step <= 3 * WINDOW
    assert "the training loss grew from 1.000 to" in text
    assert "lower training.learning_rate" in text


def test_losses_that_fall_or_jump_about_or_are_nearly_nothing_are_none() -> None:
    assert said([5.0 - step / 10 for step in range(40)]) == {}
    assert said([1.0, 3.0] * 20) == {}
    assert said([0.001] * WINDOW + [0.01] * WINDOW) == {}


@pytest.mark.parametrize("norm", [math.inf, math.nan])
def test_a_gradient_that_is_no_number_is_said_at_once(norm: float) -> None:
    ((step, (text,)),) = said([1.0] * 3, [1.0, norm, norm]).items()
    assert step == 2
    assert text.startswith("the gradient of step 2 is no number: it explodes; lower training.learning_rate")


def test_a_burst_of_the_gradient_is_said_once_unless_it_is_small() -> None:
    told = said([1.0] * 20, [1.0] * WINDOW + [50.0] + [1.0] * 5 + [50.0] * (20 - WINDOW - 6))
    ((step, (text,)),) = told.items()
    assert step == WINDOW + 1
    assert "the gradient's norm is 50 at step 9, and was 1 before: it explodes" in text
    assert said([1.0] * 20, [0.001] * WINDOW + [0.5] * (20 - WINDOW)) == {}
