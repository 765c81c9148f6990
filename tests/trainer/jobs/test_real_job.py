"""A job from its order to its version, with the real worker's children, on the tiny base."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.names import parse_ref
from registry.service import Registry
from registry.training.jobs import JobOrder, TrainingJob
from tests.support.training_jobs import chat_rows
from trainer.evaluation.sources import rows_for
from trainer.jobs.executors import LocalExecutor
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.worker import Worker

pytestmark = pytest.mark.training
ROWS = 10


@pytest.fixture(scope="module")
def done(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, TrainingJob]]:
    settings = TrainerSettings(state_dir=tmp_path_factory.mktemp("state"), trainer_threads=1)
    with Registry.open(settings) as registry:
        registry.tenants.create("acme")
        registry.bases.adopt(base)
        file = registry.files.create("acme", "rows.jsonl", "fine-tune", [chat_rows(ROWS).encode()])
        job = registry.training.create(
            JobOrder(
                tenant="acme",
                model="tiny-llama",
                base="tiny-llama",
                training_file=file.id,
                adapter="support",
                suffix="support",
                options={"training": {"learning_rate": 0.05, "max_length_tokens": 128}},
            )
        )
        said: list[str] = []
        Worker(registry, settings, LocalExecutor(1, 0), said.append).run(until_idle=True)
        job = registry.training.get("acme", job.id)
        assert job.status == "succeeded", said
        yield registry, job


def test_ten_rows_with_everything_left_to_us_become_a_version(done: tuple[Registry, TrainingJob]) -> None:
    registry, job = done
    assert job.hyperparameters == {"n_epochs": 3, "batch_size": 1}
    assert job.fine_tuned_model == f"ft:tiny-llama:acme:support:{job.id[-8:]}"
    version = registry.adapters.get(parse_ref("acme/support@1.0"))
    assert version.id == job.version_id
    assert version.proof is not None
    assert job.trained_tokens == version.lineage["trained_tokens"] > 300


def test_the_recipe_is_kept_with_the_version_and_leaves_nothing_to_defaults(done: tuple[Registry, TrainingJob]) -> None:
    registry, job = done
    recipe = tomllib.loads(registry.adapters.get(parse_ref("acme/support@1.0")).lineage["recipe"])
    assert recipe["adapter"] == {"tenant": "acme", "name": "support"}
    assert recipe["data"]["train"] == "train.jsonl"
    assert (recipe["training"]["epochs"], recipe["training"]["seed"]) == (3, job.order.seed)
    assert {"schedule", "weight_decay", "max_grad_norm", "warmup_ratio"} <= recipe["training"].keys()
    assert recipe["lora"]["r"] == 8
    assert "metric" not in recipe["evaluation"]


def test_the_result_file_has_a_line_a_step(done: tuple[Registry, TrainingJob]) -> None:
    registry, job = done
    text = b"".join(registry.files.content("acme", job.result_files[0])).decode()
    heading, *lines = text.splitlines()
    assert heading == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert [line.split(",")[0] for line in lines] == [str(step) for step in range(1, 1 + 3 * job.facts["train_rows"])]


def test_the_rows_that_it_held_out_are_those_by_which_its_version_is_evaluated(
    done: tuple[Registry, TrainingJob],
) -> None:
    registry, job = done
    version = registry.adapters.get(parse_ref("acme/support@1.0"))
    found = rows_for(registry, version, None, 100)
    assert found.name == f"held out by {job.id}"
    assert len(found.rows) == version.lineage["heldout_rows"] > 0
    asked = {row.prompt[0]["content"] for row in found.rows if not isinstance(row.prompt, str)}
    assert asked <= {f"word {number}" for number in range(ROWS)}
