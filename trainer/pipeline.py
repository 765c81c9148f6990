"""`switchyard train`: recipe → data → train → evaluate → prove → save → publish, one function a stage.

Everything that can fail for a reason known beforehand (recipe, rows, tenant, base) fails before the training starts;
nothing is written before the adapter has been proved to do something.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from registry.effect_proof import Probe, write_proof
from registry.service import Registry
from registry.settings import RegistrySettings
from trainer.base import prepare_base
from trainer.data.encode import Encoded, Rules, encode_all
from trainer.data.read import Dataset, read_data
from trainer.effect import prove_effect
from trainer.evaluate import Evaluation, evaluate
from trainer.publish import Ingredients, check_can_publish, lineage, publish
from trainer.recipe import Recipe, read_recipe
from trainer.sft import LoadedBase, Trained, load_base, save_adapter, train

ENVIRONMENT = {
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # AMX may be advertised and still fault
    "OMP_WAIT_POLICY": "PASSIVE",  # beside a serving engine, threads that spin while they wait stop each other
    "KMP_BLOCKTIME": "0",
}


class Reporter(Protocol):
    """Where the pipeline tells a person how far it is."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def step(self, step: int, total: int, loss: float | None) -> None:
        """A training step ended; `loss` is in nats per answer token."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for. `base` is None for the default, a folder, or a hub id; `out` None for the default place."""

    recipe_file: Path
    base: str | None = None
    out: Path | None = None
    publish: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made. `version` and `manifest_digest` are None when it was not published."""

    recipe: Recipe
    folder: Path
    base_name: str
    trained: Trained
    evaluation: Evaluation
    largest_effect: float
    version: str | None
    manifest_digest: str | None
    created: bool

    def document(self) -> dict[str, Any]:
        """JSON-ready summary; seconds and nats."""
        section = self.recipe.model.adapter
        return {
            "adapter": f"{section.tenant}/{section.name}",
            "version": self.version,
            "created": self.created,
            "manifest_digest": self.manifest_digest,
            "folder": str(self.folder),
            "base": self.base_name,
            "recipe_sha256": self.recipe.digest,
            "steps": self.trained.steps,
            "seconds": round(self.trained.seconds, 1),
            "trained_tokens": self.trained.trained_tokens,
            "train_loss": round(self.trained.train_loss, 4),
            "evaluation": asdict(self.evaluation),
            "largest_effect_nats": round(self.largest_effect, 3),
        }


@dataclass(frozen=True, slots=True)
class _Rows:
    train: list[Encoded]
    heldout: list[Encoded]


def run(plan: Plan, reporter: Reporter, settings: RegistrySettings | None = None) -> Outcome:
    """Run the whole pipeline; raises TrainerError or RegistryError, whose messages say what to do."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    settings = settings or RegistrySettings()
    reporter.stage(f"reading {plan.recipe_file}")
    recipe = read_recipe(plan.recipe_file)
    train_data = read_data(recipe.train_file, recipe.model.data.format)
    heldout_data = read_data(recipe.heldout_file, recipe.model.data.format)
    reporter.stage("preparing the base model")
    base_folder = prepare_base(plan.base, settings.state_dir / "base", reporter.stage)
    with _registry_of(plan, settings) as registry:
        base_info = registry and check_can_publish(registry, recipe, base_folder)
        reporter.stage("loading the base model")
        base = _load_quietly(base_folder)
        rows = _encode(base, recipe, train_data, heldout_data)
        trained, evaluation, probes = _make(base, rows, recipe, reporter)
        folder = plan.out or _default_out(settings, recipe)
        save_adapter(trained, folder)
        write_proof(probes, folder)
        published = None
        if registry and base_info:
            reporter.stage("publishing")
            made_of = Ingredients(recipe, train_data, heldout_data, base_info.digest)
            published = publish(registry, folder, made_of, lineage(made_of, trained, evaluation))
    return Outcome(
        recipe=recipe,
        folder=folder,
        base_name=base.name,
        trained=trained,
        evaluation=evaluation,
        largest_effect=max(probe.largest_effect for probe in probes),
        version=published.version.name if published else None,
        manifest_digest=published.version.manifest_digest if published else None,
        created=bool(published and published.created),
    )


def _make(
    base: LoadedBase, rows: _Rows, recipe: Recipe, reporter: Reporter
) -> tuple[Trained, Evaluation, tuple[Probe, ...]]:
    answer_tokens = sum(len(row.completion_ids) for row in rows.train)
    reporter.stage(f"training on {len(rows.train)} rows ({answer_tokens} answer tokens)")
    trained = train(base, rows.train, recipe.model, reporter.step)
    used = min(len(rows.heldout), recipe.model.evaluation.max_rows)
    reporter.stage(f"evaluating base and adapter on {used} held-out rows")
    evaluation = evaluate(trained.model, base.tokenizer, rows.heldout, recipe.model.evaluation)
    reporter.stage("proving the effect")
    return trained, evaluation, prove_effect(trained.model, rows.heldout)


def _encode(base: LoadedBase, recipe: Recipe, train_data: Dataset, heldout_data: Dataset) -> _Rows:
    section = recipe.model.data
    rules = Rules(recipe.model.training.max_length_tokens, section.overlong, section.special_tokens_in_prompts)

    def encoded(data: Dataset) -> list[Encoded]:
        return encode_all(base.tokenizer, data.examples, file=str(data.file), rules=rules)

    return _Rows(encoded(train_data), encoded(heldout_data))


def _load_quietly(folder: Path) -> LoadedBase:
    """Load without the libraries' own progress bars; the reporter has one."""
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    return load_base(folder)


@contextmanager
def _registry_of(plan: Plan, settings: RegistrySettings) -> Iterator[Registry | None]:
    if not plan.publish:
        yield None
        return
    with Registry.open(settings) as registry:
        yield registry


def _default_out(settings: RegistrySettings, recipe: Recipe) -> Path:
    section = recipe.model.adapter
    return settings.state_dir / "trained" / section.tenant / section.name
