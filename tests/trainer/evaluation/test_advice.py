"""What is measured on held-out rows, and the advice that fits the fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.training.sections import EvaluationSection
from trainer.data.encode import Encoded
from trainer.evaluation.advice import advice
from trainer.evaluation.in_training import ModelFigures, TrainingEvaluation, evaluation, examination, examine
from trainer.evaluation.proportions import score_of

LABELS = EvaluationSection(metric="label_exact")


def encoded(line: int, prompt: int, answer: int) -> Encoded:
    return Encoded(line, tuple(range(1, prompt + 1)), (*range(1, answer), 0))


def found(
    right: int, *, base: int = 0, cut: int = 0, loss: float = 1.0, most: int = 16, longest: int = 10
) -> TrainingEvaluation:
    sides = ModelFigures(2.0, score_of(base, 20), 0), ModelFigures(loss, score_of(right, 20), cut)
    return TrainingEvaluation("label_exact", 20, most, longest, *sides, ())


@pytest.mark.parametrize(("longest", "most"), [(1, 9), (2, 10), (57, 71), (900, 1125)])
def test_answers_may_be_as_long_as_the_references_and_a_quarter(longest: int, most: int) -> None:
    asked = examination([encoded(1, 3, 1), encoded(2, 3, longest)], LABELS)
    assert (asked.max_new_tokens, asked.longest_reference, asked.too_long) == (most, longest, 0)


def test_references_longer_than_a_set_limit_are_counted() -> None:
    section = EvaluationSection(metric="label_exact", max_new_tokens=16)
    assert examination([encoded(1, 3, 57), encoded(2, 3, 16)], section).too_long == 1


@pytest.mark.parametrize(
    ("evaluation", "says"),
    [
        (found(0, cut=20, longest=57), "20 of 20 answers were cut at 16 tokens, and right ones have up to 57: leave"),
        (found(12, cut=8, longest=57), "only this measurement was cut short"),
        (found(0, cut=20), "it has not learnt where to stop"),
        (found(0), "its loss fell (2.000 to 1.000): train longer"),
        (found(0, loss=2.5), "its loss did not fall (2.000 to 2.500): lower training.learning_rate"),
        (found(5, base=9), "no better than its base"),
        (found(20, base=20), "there is nothing to gain"),
    ],
)
def test_the_advice_fits_the_fault(evaluation: TrainingEvaluation, says: str) -> None:
    assert says in str(advice(evaluation))


def test_a_better_adapter_needs_no_advice() -> None:
    assert advice(found(15)) is None
    assert advice(found(19, cut=0, longest=57)) is None
    assert advice(found(20, cut=20, longest=57)) is None  # cut, and right all the same


def test_a_single_answer_that_does_not_end_is_no_fault_of_the_training() -> None:
    sides = ModelFigures(2.0, score_of(0, 100), 0), ModelFigures(0.1, score_of(99, 100), 1)
    assert advice(TrainingEvaluation("label_exact", 100, 16, 10, *sides, ())) is None


@pytest.mark.training
def test_weights_or_answers_that_are_no_numbers_are_refused(base: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    from trainer.effect import prove_effect
    from trainer.errors import TrainingRefused
    from trainer.methods.loading import load_base
    from trainer.methods.results import round_as_saved

    model = get_peft_model(load_base(base).model, LoraConfig(r=1, target_modules=["down_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(float("nan"))
    with pytest.raises(TrainingRefused, match="training diverged"):
        round_as_saved(model, before="")
    with pytest.raises(TrainingRefused, match="what is no number"):
        prove_effect(model, [(1, 2, 3)])


@pytest.mark.training
def test_wrong_answers_are_shown_beside_what_was_expected_bounded(base: Path) -> None:
    from trainer.methods.loading import load_base

    loaded = load_base(base)

    def row(line: int, prompt: str, answer: str) -> Encoded:
        def ids(text: str) -> tuple[int, ...]:
            return tuple(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])

        return Encoded(line, ids(prompt), (*ids(answer), loaded.tokenizer.eos_token_id))

    rows = [row(line, "p" * 150 + f" {line}", "right answer" * 3) for line in range(2, 22)]
    asked = examination(rows, LABELS)
    result = examine(loaded.model, loaded.tokenizer, asked)
    measured = evaluation(loaded.tokenizer, asked, result, result)
    assert len(measured.wrong) == 5
    first: Any = measured.wrong[0]
    assert (first.line, first.expected, first.prompt[-3:]) == (2, "right answer" * 3, "p 2")
    assert first.answer == result.answers[0].text[:300]
    assert all(len(text) <= 301 for wrong in measured.wrong for text in (wrong.prompt, wrong.expected, wrong.answer))
    assert measured.adapter.cut == sum(not answer.ended for answer in result.answers) > 0
    assert "wrong" not in measured.facts()
