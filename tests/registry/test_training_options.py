"""From a job to its recipe: what OpenAI's fields and the options together train with."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from registry.gates.policy import Guard, Policy
from registry.training.options import Misplaced, checked, settled, usual_batch, usual_epochs
from registry.training.sections import usual_learning_rate
from tests.support.training_parts import ordered


def test_what_is_left_to_us_has_numbers_when_the_rows_are_known() -> None:
    found = settled(ordered(seed=5), rows=500)
    assert found.hyperparameters == {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}
    training = found.options.training
    assert (training.method, training.epochs, training.max_steps, training.seed) == ("sft", 3, None, 5)
    assert (training.batch_size, training.gradient_accumulation_steps) == (8, 1)
    assert found.options.learning_rate == usual_learning_rate("sft", "lora")


@pytest.mark.parametrize(
    ("rows", "epochs", "batch"),
    [(1, 3, 1), (120, 3, 4), (240, 3, 8), (2_999, 3, 8), (9_999, 2, 19), (10_000, 1, 20), (100_000, 1, 32)],
)
def test_the_more_rows_the_fewer_passes_and_the_larger_steps(rows: int, epochs: int, batch: int) -> None:
    assert (usual_epochs(rows), usual_batch(rows)) == (epochs, batch)


@pytest.mark.parametrize(("asked", "in_memory", "times"), [(1, 1, 1), (6, 6, 1), (32, 8, 4), (100, 5, 20), (13, 1, 13)])
def test_a_step_of_any_size_is_made_of_batches_that_fit_memory(asked: int, in_memory: int, times: int) -> None:
    training = settled(ordered(hyperparameters={"batch_size": asked}), rows=500).options.training
    assert (training.batch_size, training.gradient_accumulation_steps) == (in_memory, times)


def test_preferences_have_a_beta_and_a_lower_rate() -> None:
    asked = {"beta": 0.5, "learning_rate_multiplier": 2, "n_epochs": 1}
    found = settled(ordered(method="dpo", hyperparameters=asked), rows=100)
    assert found.hyperparameters == {**asked, "batch_size": 3}
    assert (found.options.training.method, found.options.dpo.beta) == ("dpo", 0.5)
    assert found.options.learning_rate == 2 * usual_learning_rate("dpo", "lora")


def test_options_are_sections_of_a_recipe() -> None:
    options: dict[str, Any] = {
        "adapter": "bot",
        "lora": {"r": 16},
        "model": {"tuning": "qlora"},
        "training": {"max_steps": 7, "batch_size": 2, "learning_rate": 1e-3},
        "data": {"overlong": "truncate"},
    }
    found = settled(ordered(options=options), rows=100)
    assert found.hyperparameters == {}, "nothing of it is OpenAI's"
    assert (found.options.lora.r, found.options.model.tuning, found.options.training.max_steps) == (16, "qlora", 7)
    assert (found.options.data.overlong, found.options.adapter, found.options.dry_run) == ("truncate", "bot", False)


def test_a_version_to_go_on_from_is_the_models() -> None:
    assert settled(ordered(continues="acme/bot@1.0"), rows=9).options.model.continue_from == "acme/bot@1.0"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"training": {"epochs": 3}}, "training.epochs"),
        ({"model": {"continue_from": "acme/bot@1.0"}}, "model.continue_from"),
        ({"dpo": {"beta": 1}}, "dpo.beta"),
        ({"lora": []}, "lora"),
        ({"training": {"learning_rate": 1e-3}}, "training.learning_rate"),
        ({"training": {"gradient_accumulation_steps": 2}}, "training.gradient_accumulation_steps"),
        ({"model": {"tuning": "prompt"}}, "model.tuning"),
    ],
)
def test_nothing_is_said_twice(options: dict[str, Any], path: str) -> None:
    said = {"learning_rate_multiplier": 2, "batch_size": 4}
    with pytest.raises(Misplaced) as refused:
        checked(ordered(options=options, hyperparameters=said))
    assert refused.value.path == path


def test_what_could_not_be_trained_is_refused_at_the_order() -> None:
    with pytest.raises(ValidationError, match="the shape is that of"):
        checked(ordered(options={"lora": {"r": 4}}, continues="acme/bot@1.0"))
    with pytest.raises(ValidationError, match="cannot be packed"):
        checked(ordered(options={"training": {"packing": True}}, method="dpo"))


def test_a_gate_rides_in_the_options_and_names_every_metric_once() -> None:
    gate = {"target": "label_exact", "better_by": 0.02, "guards": [{"metric": "loss", "margin": 0.1}]}
    found = checked(ordered(options={"gate": gate})).gate
    assert found is not None
    assert found.policy == Policy("label_exact", 0.02, (Guard("loss", 0.1),))
    for bad in (
        {**gate, "target": "regex:(a+)+"},
        {**gate, "guards": [{"metric": "label_exact", "margin": 0}]},
        {**gate, "better_by": -1},
    ):
        with pytest.raises(ValidationError):
            checked(ordered(options={"gate": bad}))
