"""`switchyard train`: recipe → data → base's answers → train → save → evaluate → prove → publish, a function a stage.

Everything that can fail for a reason known beforehand (recipe, rows, tenant, base, folder, texts of the proof) fails
before the training starts. What was trained is saved before anything else is done with it, and can be taken up again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.adapters.version_rows import VersionInfo
from registry.names import PRODUCTION, AdapterRef
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.training.sections import why_not_served
from trainer.base import base_at_hand, prepare_base
from trainer.data.findings import tell
from trainer.data.overlap import Overlap
from trainer.data.sets import read_sets
from trainer.errors import TrainerError, TrainingRefused
from trainer.evaluation.advice import advice
from trainer.evaluation.in_training import TrainingEvaluation
from trainer.making import Task, encode, fit, judge, set_environment
from trainer.methods.results import Trained
from trainer.mlflow_registry import check_registry, register
from trainer.publish import Ingredients, check_can_publish, lineage, publish, version_folder
from trainer.quote.of_task import lineage_quote
from trainer.recipe import Recipe, read_recipe
from trainer.saved import check_writable, command_that_goes_on, import_command
from trainer.watch import Watch


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for. `base` is None for the default, a folder, or a hub id; `out` None for the default place.

    `trained` is the folder of an adapter that was trained from this recipe and is to be taken up. `engine` is the
    address of a vLLM that serves the base, to compare how prompts are rendered.
    """

    recipe_file: Path
    base: str | None = None
    out: Path | None = None
    publish: bool = True
    trained: Path | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made. `version` and `manifest_digest` are None when it was not published."""

    recipe: Recipe
    folder: Path
    base_name: str
    trained: Trained
    data: Overlap
    evaluation: TrainingEvaluation
    largest_effect: float | None
    version: str | None
    manifest_digest: str | None
    created: bool
    gate_against: str | None
    """What a gate of the adapter's wants the version to be compared with before it is promoted; `None`: no gate."""

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
            "data": asdict(self.data),
            "evaluation": asdict(self.evaluation),
            "advice": advice(self.evaluation),
            "validation": asdict(self.trained.validation) if self.trained.validation else None,
            "largest_effect_nats": None if self.largest_effect is None else round(self.largest_effect, 3),
        }


def run(plan: Plan, watch: Watch, settings: RegistrySettings | None = None) -> Outcome:
    """Run the whole pipeline; raises TrainerError or RegistryError, whose messages say what to do."""
    set_environment()
    settings = settings or RegistrySettings()
    if plan.publish:
        check_registry(settings)
    watch.stage(f"reading {plan.recipe_file}")
    recipe = read_recipe(plan.recipe_file)
    bases = settings.state_dir / "base"
    sets = read_sets(recipe, base_at_hand(plan.base, bases))
    tell(watch, sets.findings)
    folder = plan.trained or plan.out or _default_out(settings, recipe)
    check_writable(folder)
    watch.stage("preparing the base model")
    base_folder = prepare_base(plan.base, bases, watch.stage)
    if plan.publish and (why := why_not_served(recipe.model.model.tuning)):
        watch.say(f"{why}; it will be evaluated and kept in {folder}", level="warn")
    with _registry_of(plan, recipe, settings) as registry:
        base_info = registry and check_can_publish(registry, recipe, base_folder)
        task = Task(
            recipe,
            sets,
            base_folder,
            folder,
            take_up=plan.trained is not None,
            start_from=version_folder(recipe, settings, base_folder),
            engine=plan.engine,
        )
        watch.stage("encoding the rows")
        rows = encode(task, watch)
        fitted = fit(task, rows, watch)
        with _kept(plan, recipe, fitted.folder, watch):
            judged = judge(fitted, watch)
            published = gate_against = None
            if registry and base_info:
                watch.stage("publishing")
                ingredients = Ingredients(recipe, sets, base_info.digest)
                published = publish(
                    registry,
                    fitted.folder,
                    ingredients,
                    lineage(ingredients, fitted.trained, judged.evaluation, fitted.receipt)
                    | {"quote": lineage_quote(task, rows)},
                )
                gate_against = _gate_against(registry, published.version)
                if settings.mlflow_registry is not None:
                    _register(settings.mlflow_registry, published.version, watch)
    return Outcome(
        recipe=recipe,
        folder=fitted.folder,
        base_name=fitted.base.name,
        trained=fitted.trained,
        data=sets.overlap,
        evaluation=judged.evaluation,
        largest_effect=judged.largest_effect,
        version=published.version.name if published else None,
        manifest_digest=published.version.manifest_digest if published else None,
        created=bool(published and published.created),
        gate_against=gate_against,
    )


def _gate_against(registry: Registry, version: VersionInfo) -> str | None:
    ref = AdapterRef(version.tenant, version.adapter, version.version, None)
    if registry.gates.policy(ref) is None:
        return None
    return PRODUCTION if any(one.alias == PRODUCTION for one in registry.adapters.aliases(ref)) else "base"


def _register(uri: str, version: VersionInfo, watch: Watch) -> None:
    watch.stage("registering in MLflow")
    try:
        watch.say(f"registered in MLflow: {register(uri, version)}")
    except TrainerError as error:  # it is published all the same
        watch.say(str(error), level="warn")


@contextmanager
def _kept(plan: Plan, recipe: Recipe, folder: Path, watch: Watch) -> Iterator[None]:
    """Whatever ends the run from here on, a person is told where the adapter is and how to go on."""
    try:
        yield
    except TrainingRefused as refused:  # to try again would end the same way
        command = import_command(recipe, folder, "BASE")
        raise TrainingRefused(f"{refused}. It is kept in {folder}; to publish it all the same: {command}") from refused
    except BaseException:
        command = command_that_goes_on(plan.recipe_file, folder, plan.base, publish=plan.publish)
        watch.stage(f"the trained adapter is kept in {folder}; go on with: {command}")
        raise


@contextmanager
def _registry_of(plan: Plan, recipe: Recipe, settings: RegistrySettings) -> Iterator[Registry | None]:
    if not plan.publish or why_not_served(recipe.model.model.tuning):
        yield None
        return
    with Registry.open(settings) as registry:
        yield registry


def _default_out(settings: RegistrySettings, recipe: Recipe) -> Path:
    section = recipe.model.adapter
    return settings.state_dir / "trained" / section.tenant / section.name
