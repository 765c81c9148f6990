"""Every method and kind of tuning on the tiny base: it learns, it resumes, and it gives the same file again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry.training.sections import TrainingOptions
from tests.support.method_parts import Noting, answers, digest, options, rows
from trainer.errors import BaseModelError, TrainingRefused, TrainingStopped
from trainer.forward import greedy_answers, token_logprobs
from trainer.methods.loading import load_base
from trainer.methods.results import save_trained
from trainer.methods.rows import Rows
from trainer.methods.training import train
from trainer.watch import Order

pytestmark = pytest.mark.training

KINDS = [
    ("sft", "lora"),
    ("sft", "qlora"),
    ("sft", "full"),
    ("sft", "prompt"),
    ("sft", "prefix"),
    ("sft", "ia3"),
    ("dpo", "lora"),
    ("dpo", "qlora"),
]
TEXT = [40, 41, 42, 50, 257]


def of(method: str, tuning: str, **training: Any) -> TrainingOptions:
    rate = {"prompt": 0.3, "prefix": 0.3, "ia3": 0.1}.get(tuning, 1e-2)
    return options(
        model={"tuning": tuning}, training={"method": method, "learning_rate": rate, "eval_steps": 2, **training}
    )


@dataclass
class Stopping(Noting):
    """Stops at a step; its checkpoint lies in `kept`."""

    kept: Path = field(default_factory=Path)
    at: int = 0

    def after(self, step: int, total_steps: int) -> Order:
        return "stop" if step == self.at else "go"

    def checkpoint(self, step: int, folder: Path) -> None:
        shutil.copytree(folder, self.kept)


@pytest.mark.parametrize(("method", "tuning"), KINDS)
def test_it_learns_and_a_resumed_training_gives_the_same_file(
    base: Path, tmp_path: Path, method: str, tuning: str
) -> None:
    watch, recipe, given = Noting(), of(method, tuning), rows(method, valid=4)
    loaded = load_base(base)
    before = token_logprobs(loaded.model, [TEXT])
    trained = train(loaded, given, recipe, watch)
    assert len(watch.losses) == 6
    assert watch.losses[-1] < watch.losses[0]
    assert watch.valid_losses[-1] < watch.valid_losses[0]
    after = token_logprobs(trained.model, [TEXT])
    assert [len(one) for one in after] == [len(TEXT) - 1]
    assert after != before
    (answer,) = greedy_answers(trained.model, loaded.tokenizer, [TEXT[:3]], 3)
    assert isinstance(answer.text, str)

    whole = digest(trained, tmp_path / "whole")
    stopping = Stopping(kept=tmp_path / "kept", at=3)
    with pytest.raises(TrainingStopped):
        train(load_base(base), given, recipe, stopping)
    resumed = train(load_base(base), given, recipe, resume_from=tmp_path / "kept")
    assert digest(resumed, tmp_path / "resumed") == whole
    assert resumed.validation == trained.validation is not None


def test_what_full_tuning_makes_is_a_base_of_its_own(base: Path, tmp_path: Path) -> None:
    from registry.service import Registry
    from registry.settings import RegistrySettings

    trained = train(load_base(base), rows(), of("sft", "full"))
    folder = tmp_path / "tiny-tuned"
    save_trained(trained, folder)
    again = load_base(folder)
    assert token_logprobs(again.model, [TEXT]) == token_logprobs(trained.model, [TEXT])
    assert again.tokenizer.chat_template == trained.tokenizer.chat_template
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        assert registry.bases.adopt(folder).digest != registry.bases.adopt(base).digest


@pytest.mark.parametrize("tuning", ["lora", "qlora"])
def test_preferences_are_learnt_on_top_of_an_adapter_which_alone_is_saved(
    base: Path, tmp_path: Path, tuning: str
) -> None:
    from safetensors import safe_open

    first = train(load_base(base), rows(), of("sft", "lora"))
    digest(first, tmp_path / "first")
    recipe = of("dpo", tuning)
    start = tmp_path / "first"
    watch = Noting()
    trained = train(load_base(base), rows("dpo"), recipe, watch, start_from=start)
    assert watch.losses[0] == pytest.approx(0.6931, abs=1e-3)  # as good as what it began with: -log σ(0)
    assert watch.losses[-1] < 0.5
    assert set(trained.model.peft_config) == {"default"}
    whole = digest(trained, tmp_path / "whole")
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    with safe_open(tmp_path / "whole" / "adapter_model.safetensors", framework="pt") as weights:
        assert len(list(weights.keys())) == 2 * 2 * 7
    with pytest.raises(TrainingStopped):
        train(load_base(base), rows("dpo"), recipe, Stopping(kept=tmp_path / "kept", at=3), start_from=start)
    resumed = train(load_base(base), rows("dpo"), recipe, resume_from=tmp_path / "kept", start_from=start)
    assert digest(resumed, tmp_path / "resumed") == whole


def test_an_adapter_that_goes_on_learning_keeps_its_shape_and_takes_the_recipes_dropout(
    base: Path, tmp_path: Path
) -> None:
    first = train(load_base(base), rows(), options(lora={"r": 3, "alpha": 6}))
    digest(first, tmp_path / "first")
    recipe = options(model={"continue_from": "acme/tiny@1.0"}, lora={"dropout": 0.5})
    second = train(load_base(base), rows(), recipe, start_from=tmp_path / "first")
    config = second.model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 6, 0.5)
    with pytest.raises(BaseModelError, match="the adapter to go on from"):
        train(load_base(base), rows(), recipe, start_from=tmp_path)


@pytest.mark.parametrize("tuning", ["lora", "qlora"])
def test_looking_at_other_rows_meanwhile_changes_nothing_of_what_is_learnt(
    base: Path, tmp_path: Path, tuning: str
) -> None:
    recipe = of("sft", tuning)
    looked = train(load_base(base), rows(valid=8), recipe)
    blind = train(load_base(base), rows(), recipe)
    assert digest(looked, tmp_path / "looked") == digest(blind, tmp_path / "blind")
    assert blind.validation is None


def test_what_is_measured_after_four_bits_is_the_adapter_on_the_base_as_it_is_served(
    base: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    trained = train(load_base(base), rows(), of("sft", "qlora"))
    digest(trained, tmp_path)
    served = PeftModel.from_pretrained(load_base(base).model, tmp_path).eval()
    assert token_logprobs(trained.model, [TEXT]) == token_logprobs(served, [TEXT])
    with trained.model.disable_adapter():
        assert token_logprobs(trained.model, [TEXT]) == token_logprobs(load_base(base).model, [TEXT])


@pytest.mark.parametrize("tuning", ["lora", "full", "ia3"])
def test_weights_that_are_as_they_were_are_refused(base: Path, tuning: str) -> None:
    with pytest.raises(TrainingRefused, match="left every weight as it was"):
        train(load_base(base), rows(), of("sft", tuning, max_steps=1))  # the only step is warm-up's first, at rate zero


def test_packed_rows_do_not_see_each_other(base: Path, tmp_path: Path) -> None:
    plain, packed = Noting(), Noting()
    train(load_base(base), rows(), of("sft", "lora", batch_size=16), plain)
    recipe = of("sft", "lora", batch_size=6, packing=True, max_length_tokens=16)  # 3 rows a sequence, 16 rows in 6
    train(load_base(base), rows(), recipe, packed)
    assert packed.losses == pytest.approx(plain.losses, rel=1e-4)


def test_a_corpus_of_any_script_trains_like_any_other(base: Path) -> None:
    from trainer.data.encode import Rules, encode_all
    from trainer.data.rows import Example, Message

    texts = ["שלום, עולם", "مرحبا بالعالم", "你好，世界", "こんにちは", "안녕하세요", "नमस्ते", "e\u0301 👩‍👩‍👧 \u200f→"]
    loaded = load_base(base)
    examples = [Example(line, (Message("user", text),), text) for line, text in enumerate(texts, 1)]
    encoded = encode_all(loaded.tokenizer, examples, file="rows", rules=Rules(200))
    for row, text in zip(encoded, texts, strict=True):
        assert loaded.tokenizer.decode(row.completion_ids, skip_special_tokens=True) == text
    watch = Noting()
    train(loaded, Rows(encoded), options(steps=12), watch)
    assert watch.losses[-1] < watch.losses[0] / 2


def test_the_rows_of_the_tests_are_answers_that_end() -> None:
    assert all(row.completion_ids[-1] == 257 for row in answers())
