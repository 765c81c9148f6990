"""Which GPUs hold a training, and published rules of thumb beside it."""

from __future__ import annotations

import pytest

from tests.support.cli_runner import Run, run
from trainer.quote.gpus import GB, GPUS, plan_gpus
from trainer.quote.known import find_shape
from trainer.quote.memory import Load
from trainer.quote.thumb import GPU_CHOICES, MEMORY_GB, RANKS, SHARES, compared, shown

__all__ = ["run"]


def test_a_70b_model_in_four_bits_trains_on_one_gpu_of_80_gb() -> None:
    plan = plan_gpus(find_shape("70b"), Load("qlora"))
    assert shown(plan.minimum) == "A100 80 GB"
    assert plan.minimum is not None
    assert 40 * GB < plan.minimum.need.total < 60 * GB


def test_what_is_recommended_leaves_room_and_what_is_listed_fits() -> None:
    for model, tuning in (("8b", "full"), ("8b", "lora"), ("70b", "lora"), ("13b", "qlora")):
        plan = plan_gpus(find_shape(model), Load(tuning))  # type: ignore[arg-type]
        assert plan.recommended is not None
        assert plan.recommended.used_share <= 0.8
        assert all(fit.used_share <= 1 for fit in plan.fits)
        assert len({fit.gpu.name for fit in plan.fits}) == len(plan.fits)


def test_what_no_gpu_holds_has_no_plan() -> None:
    plan = plan_gpus(find_shape("405b"), Load("full"), counts=(1, 2))
    assert (plan.fits, plan.minimum, plan.recommended, shown(plan.minimum)) == ((), None, None, "none")


def test_every_gpu_says_where_its_figures_are_from() -> None:
    assert all(gpu.source.split(", ")[-1].isdigit() for gpu in GPUS)
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)


def test_every_row_of_the_published_tables_has_a_computed_figure_and_a_reason_where_it_is_far_off() -> None:
    rows = compared()
    assert len(rows) == len(MEMORY_GB) + 1 + len(SHARES) + 1 + 2 + len(RANKS) + len(GPU_CHOICES)
    by_row = {f"{row.subject} {row.row}": row for row in rows}
    famous = by_row["trainable parameters Llama 3.1 8B, rank 16, all linear layers"]
    assert famous.computed == "41,943,040 (0.52 %)"
    assert "6,553,600 is rank 8 on q_proj and v_proj of Llama 2 13B" in famous.why
    assert "7.5 bytes a parameter" in by_row["memory LLaMA 3 8B, full"].why
    assert by_row["bytes per parameter full, 2 weights + 2 gradients + 8 optimizer"].computed == "16"
    assert by_row["gpu LLaMA 3 8B, qlora"].computed == "RTX 3090; recommended RTX 4090"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--targets", ","), "no linear layer is named"),
        (("--targets", "q_proj,nope"), "['nope'] are no linear layers"),
        (("--method", "full", "--rank", "8"), "--rank: is of adapters"),
        (("--method", "full", "--targets", "all-linear"), "--targets: is of adapters"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(run: Run, arguments: tuple[str, ...], fault: str) -> None:
    outcome = run("plan-gpu", "8b", *arguments)
    assert outcome.status != 0
    assert fault in outcome.err


def test_rows_that_are_longer_than_a_models_context_are_told(run: Run) -> None:
    assert "200,000 tokens are more than its context, which has 131,072" in run("plan-gpu", "8b", "--seq", "200000").out
    assert "its context" not in run("plan-gpu", "8b", "--seq", "131072").out


def test_the_command_prints_the_plan_and_the_rule_of_thumb_beside_it(run: Run) -> None:
    text = run("plan-gpu", "70b", "--method", "qlora").out
    assert "llama-3.1-70b: 70,553,706,496 parameters, 207,093,760 trained (0.29 %)" in text
    assert "minimum        A100 80 GB\n" in text
    assert "rule of thumb  A100 80 GB; recommended 2 × A100 80 GB" in text
    assert "measures results on the base as it is served, on one GPU: 141.9 GB" in text
    document = run("plan-gpu", "70b", "--method", "qlora", "--json").document
    assert document["minimum"]["gpu"] == "A100 80 GB"
    assert document["memory_bytes"]["total"] == document["minimum"]["bytes_each"]
    assert document["rule_of_thumb"] == {"minimum": "A100 80 GB", "recommended": "2 × A100 80 GB"}


def test_the_command_tries_the_count_that_is_asked_for(run: Run) -> None:
    document = run("plan-gpu", "8b", "--method", "full", "--gpus", "8", "--json").document
    assert {fit["count"] for fit in document["fits"]} == {8}
    text = run("plan-gpu", "405b", "--method", "full", "--gpus", "1").out
    assert "no GPU holds it; take a smaller model" in text
    assert "minimum        none" in text


def test_the_command_shows_all_rules_of_thumb(run: Run) -> None:
    assert len(run("plan-gpu", "--rules-of-thumb", "--json").document) == len(compared())
    assert "6,553,600" in run("plan-gpu", "--rules-of-thumb").out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("9b",), "'9b' is no folder and no known model"),
        (("8b", "--targets", "q_proj,w9"), r"['w9'] are no linear layers of llama-3.1-8b"),
        ((), "name a model, or ask for --rules-of-thumb"),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_message(run: Run, arguments: tuple[str, ...], fault: str) -> None:
    done = run("plan-gpu", *arguments)
    assert done.status != 0
    assert fault in done.err
