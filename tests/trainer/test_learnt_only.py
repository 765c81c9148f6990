"""The vocabulary is asked of what is learnt alone: the same loss, the same gradients, fewer positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.method_parts import options, rows
from trainer.methods.learnt_only import learnt_only
from trainer.methods.loading import load_base
from trainer.methods.training import NOBODY, trainer_of
from trainer.methods.tuning import model_to_train
from trainer.methods.validation import Follower

pytestmark = pytest.mark.training
BATCH, LEARNT = 4, 2
"""Rows, and tokens of each one's answer."""


@pytest.fixture(params=["lora", "full", "prompt"])
def trainer(request: pytest.FixtureRequest, base: Path, tmp_path: Path) -> Any:
    recipe = options(model={"tuning": request.param}, training={"batch_size": BATCH})
    loaded = load_base(base)
    follower = Follower(NOBODY, recipe.training, None)
    model = model_to_train(loaded, recipe, None)
    return trainer_of(model, loaded.tokenizer, rows(), recipe, (str(tmp_path), NOBODY, follower))


def loss_and_gradients(trainer: Any, compute: Any) -> tuple[float, dict[str, Any]]:
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    trainer.model.zero_grad()
    loss = compute(trainer.model, dict(batch))
    loss.backward()
    named = trainer.model.named_parameters()
    return loss.item(), {name: one.grad.clone() for name, one in named if one.grad is not None}


def test_the_loss_and_its_gradients_are_those_of_all_positions(trainer: Any) -> None:
    import torch
    from trl import SFTTrainer

    of_all = loss_and_gradients(trainer, lambda model, batch: SFTTrainer.compute_loss(trainer, model, batch))
    of_fewer = loss_and_gradients(trainer, trainer.compute_loss)
    assert of_fewer[0] == pytest.approx(of_all[0], rel=1e-5)
    assert of_fewer[1].keys() == of_all[1].keys() != set()
    for name, gradient in of_all[1].items():
        torch.testing.assert_close(of_fewer[1][name], gradient, rtol=1e-4, atol=1e-6)
    accuracies = trainer._metrics["train"]["mean_token_accuracy"]
    assert accuracies[0] == accuracies[1]


def test_as_many_positions_are_scored_as_are_learnt(trainer: Any) -> None:
    batch = dict(next(iter(trainer.get_train_dataloader())))
    with learnt_only(trainer.model, batch) as fewer:
        scored = trainer.model(**fewer, fused_lm_head=True)
    adds_tokens = "labels" in fewer
    assert adds_tokens == (getattr(trainer.model, "peft_type", None) == "PROMPT_TUNING")
    if not adds_tokens:
        assert tuple(scored.log_probs.shape) == (1, BATCH * LEARNT)
    after = trainer.model(**{**batch, "use_cache": False})
    assert after.logits.shape[0] == BATCH, "outside it is the model that it was"


def test_a_batch_of_which_nothing_is_learnt_has_a_loss_of_nought(trainer: Any) -> None:
    batch = dict(next(iter(trainer.get_train_dataloader())))
    batch["labels"] = batch["labels"].clone().fill_(-100)
    assert trainer.compute_loss(trainer.model, batch).item() == 0
