"""Each knob of a recipe does what it says, seen in what is measured or made on the tiny base."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.method_parts import STOP_ID, Noting, digest, options, rows
from trainer.data.encode import Encoded
from trainer.methods.loading import LoadedBase, load_base
from trainer.methods.results import Trained
from trainer.methods.rows import Rows
from trainer.methods.training import train

pytestmark = pytest.mark.training
STEPS = 4


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    return load_base(base).tokenizer


@pytest.fixture
def loaded(base: Path, tokenizer: Any) -> LoadedBase:
    return load_base(base, tokenizer)


@pytest.fixture(scope="module")
def usual(base: Path, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Noting]:
    watch = Noting()
    trained = train(load_base(base, tokenizer), rows(), options(steps=STEPS), watch)
    return digest(trained, tmp_path_factory.mktemp("usual")), watch


def fit(loaded: LoadedBase, watch: Noting, **sections: Mapping[str, Any]) -> Trained:
    return train(loaded, rows(), options(steps=STEPS, **sections), watch)


@pytest.mark.parametrize(
    "sections",
    [
        {"lora": {"alpha": 16}},
        {"lora": {"rslora": True}},
        {"lora": {"dropout": 0.3}},
        {"lora": {"target_modules": ["q_proj", "v_proj"]}},
        {"training": {"learning_rate": 2e-2}},
        {"training": {"schedule": "linear"}},
        {"training": {"weight_decay": 0.5}},
        {"training": {"max_grad_norm": 0.01}},
        {"training": {"precision": "bfloat16"}},
        {"training": {"seed": 1}},
    ],
    ids=lambda sections: next(f"{name}.{key}" for name, keys in sections.items() for key in keys),
)
def test_it_changes_what_is_made(
    loaded: LoadedBase, usual: tuple[str, Noting], tmp_path: Path, sections: dict[str, dict[str, Any]]
) -> None:
    trained = fit(loaded, Noting(), **sections)
    assert digest(trained, tmp_path) != usual[0]


def test_the_rank_is_the_shape_and_scales_by_its_root_when_stabilised(loaded: LoadedBase) -> None:
    trained = fit(loaded, Noting(), lora={"r": 12, "alpha": 24, "rslora": True})
    shapes = {
        (weight.shape[0] if "lora_A" in name else weight.shape[1])
        for name, weight in trained.model.named_parameters()
        if "lora_" in name
    }
    assert shapes == {12}
    scalings = {module.scaling["default"] for module in trained.model.modules() if hasattr(module, "lora_A")}
    assert list(scalings) == [pytest.approx(24 / math.sqrt(12))]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [0.0, 1.0, 1.0, 1.0]),
        ("linear", [0.0, 1.0, 2 / 3, 1 / 3]),
        ("cosine", [0.0, 1.0, 0.75, 0.25]),
    ],
)
def test_the_rate_follows_the_schedule(loaded: LoadedBase, schedule: str, rates: list[float]) -> None:
    watch = Noting()
    fit(loaded, watch, training={"schedule": schedule, "warmup_ratio": 0.25, "learning_rate": 1e-2})
    seen = [one.learning_rate for one in watch.measured if one.train_loss is not None]
    assert seen == pytest.approx([1e-2 * rate for rate in rates])


def test_two_batches_of_half_the_size_make_the_same_step(loaded: LoadedBase, usual: tuple[str, Noting]) -> None:
    watch = Noting()
    fit(loaded, watch, training={"batch_size": 2, "gradient_accumulation_steps": 2})
    assert watch.losses == pytest.approx(usual[1].losses, rel=1e-4)
    assert [one.trained_tokens for one in watch.measured] == [one.trained_tokens for one in usual[1].measured]


def test_activations_that_are_computed_again_are_the_same(
    loaded: LoadedBase, usual: tuple[str, Noting], tmp_path: Path
) -> None:
    trained = fit(loaded, Noting(), training={"gradient_checkpointing": True})
    assert digest(trained, tmp_path) == usual[0]


def test_without_a_gpu_the_eight_bit_optimizer_is_adamw_which_is_said(
    loaded: LoadedBase, usual: tuple[str, Noting], tmp_path: Path
) -> None:
    watch = Noting()
    trained = fit(loaded, watch, training={"optimizer": "paged_adamw_8bit"})
    assert digest(trained, tmp_path) == usual[0]
    assert watch.said == [
        ("warn", 'training.optimizer = "paged_adamw_8bit" needs a GPU; adamw is used instead'),
    ]


def test_the_same_recipe_in_the_same_words_gives_the_same_file(
    loaded: LoadedBase, usual: tuple[str, Noting], tmp_path: Path
) -> None:
    watch = Noting()
    assert digest(fit(loaded, watch), tmp_path) == usual[0]
    assert watch.losses == usual[1].losses


def test_beta_and_the_loss_of_preferences_change_what_is_learnt(base: Path, tokenizer: Any) -> None:
    first = {}
    for loss in ("sigmoid", "hinge", "ipo"):
        watch = Noting()
        recipe = options(steps=2, training={"method": "dpo"}, dpo={"loss": loss, "beta": 0.5})
        train(load_base(base, tokenizer), rows("dpo"), recipe, watch)
        first[loss] = watch.losses[0]
    assert first == {"sigmoid": pytest.approx(math.log(2)), "hinge": 1.0, "ipo": pytest.approx(1.0)}  # (1 / 2β)²


def contrary() -> Rows:
    """Rows to validate on that ask what is learnt and answer otherwise: they do the worse, the better it is learnt."""
    learnt = [Encoded(line, (40 + line, 41, 42), (50, STOP_ID)) for line in range(1, 9)]
    return Rows(learnt, [Encoded(line, (40 + line, 41, 42), (70, STOP_ID)) for line in range(1, 9)])


def test_overfitting_is_said_once_with_the_step_from_which_on(loaded: LoadedBase) -> None:
    watch = Noting()
    trained = train(loaded, contrary(), options(steps=12, training={"eval_steps": 2}), watch)
    assert trained.validation is not None
    since = trained.validation.overfits_since
    assert since == trained.validation.best_step < 12 == trained.validation.kept_step
    assert trained.validation.last_loss > trained.validation.best_loss
    (warning,) = [text for _, text in watch.said]
    assert warning.startswith(f"it overfits since step {since}: on rows that are not learnt the loss rose from ")
    assert "set training.early_stopping_patience" in warning


def test_early_stopping_ends_the_training_and_keeps_the_best_weights(
    base: Path, tokenizer: Any, tmp_path: Path
) -> None:
    from trainer.evaluation.in_training import heldout_loss

    watch, given = Noting(), contrary()
    section = {"eval_steps": 2, "early_stopping_patience": 2}
    trained = train(load_base(base, tokenizer), given, options(steps=40, training=section), watch)
    found = trained.validation
    assert found is not None
    assert found.stopped_early
    assert trained.steps == found.best_step + 2 * 2 < 40
    assert found.kept_step == found.best_step
    valid = [row for row in given.valid if isinstance(row, Encoded)]
    assert heldout_loss(trained.model, valid) == pytest.approx(found.best_loss, rel=1e-2)  # rounded to bfloat16
    assert any("will be kept" in text for _, text in watch.said)


def test_an_early_stop_outlives_a_resumption(base: Path, tokenizer: Any, tmp_path: Path) -> None:
    from tests.trainer.test_methods import Stopping
    from trainer.errors import TrainingStopped

    recipe = options(steps=40, training={"eval_steps": 2, "early_stopping_patience": 2})
    whole = train(load_base(base, tokenizer), contrary(), recipe)
    assert whole.validation is not None
    at = whole.validation.best_step + 1  # the best weights are those of an earlier step than the checkpoint's
    with pytest.raises(TrainingStopped):
        train(load_base(base, tokenizer), contrary(), recipe, Stopping(kept=tmp_path / "kept", at=at))
    resumed = train(load_base(base, tokenizer), contrary(), recipe, resume_from=tmp_path / "kept")
    assert resumed.validation == whole.validation
    assert digest(resumed, tmp_path / "resumed") == digest(whole, tmp_path / "whole")
    (tmp_path / "end").mkdir()
    stopping = Stopping(kept=tmp_path / "end" / "kept", at=whole.steps)
    stopped = train(load_base(base, tokenizer), contrary(), recipe, stopping)
    again = train(load_base(base, tokenizer), contrary(), recipe, resume_from=stopping.kept)
    assert again.steps == stopped.steps == whole.steps
    assert digest(again, tmp_path / "again") == digest(whole, tmp_path / "whole")
