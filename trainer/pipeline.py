"""`switchyard train`: recipe → data → base's answers → train → save → evaluate → prove → publish, a function a stage.

Everything that can fail for a reason known beforehand (recipe, rows, tenant, base, folder, texts of the proof) fails
before the training starts. What was trained is saved before anything else is done with it, and can be taken up again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.adapters.effect_proof import write_proof
from registry.service import Registry
from registry.settings import RegistrySettings
from trainer.base import base_at_hand, prepare_base
from trainer.data.encode import Encoded, Rules, encode_all
from trainer.data.faults import all_of
from trainer.data.overlap import Overlap
from trainer.data.read import Dataset
from trainer.data.sets import Sets, read_sets
from trainer.effect import prove_effect
from trainer.errors import RecipeError, TrainingRefused
from trainer.evaluation.advice import advice
from trainer.evaluation.in_training import Evaluation, Examination, Result, evaluation, examination, examine
from trainer.probes import Text, probe_texts
from trainer.publish import Ingredients, check_can_publish, lineage, publish
from trainer.recipe import Recipe, read_recipe
from trainer.saved import check_writable, command_that_goes_on, import_command, load, made_of, save
from trainer.sft import LoadedBase, Rows, Trained, check_targets, load_base, load_tokenizer, train
from trainer.watch import Watch

ENVIRONMENT = {
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",  # AMX may be advertised and still fault
    "OMP_WAIT_POLICY": "PASSIVE",  # beside a serving engine, threads that spin while they wait stop each other
    "KMP_BLOCKTIME": "0",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for. `base` is None for the default, a folder, or a hub id; `out` None for the default place.

    `trained` is the folder of an adapter that was trained from this recipe and is to be taken up.
    """

    recipe_file: Path
    base: str | None = None
    out: Path | None = None
    publish: bool = True
    trained: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made. `version` and `manifest_digest` are None when it was not published."""

    recipe: Recipe
    folder: Path
    base_name: str
    trained: Trained
    data: Overlap
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
            "data": asdict(self.data),
            "evaluation": asdict(self.evaluation),
            "advice": advice(self.evaluation),
            "largest_effect_nats": round(self.largest_effect, 3),
        }


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Everything that is known before the training."""

    base: LoadedBase
    train: list[Encoded]
    asked: Examination
    texts: list[Text]
    base_result: Result


def run(plan: Plan, watch: Watch, settings: RegistrySettings | None = None) -> Outcome:
    """Run the whole pipeline; raises TrainerError or RegistryError, whose messages say what to do."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    settings = settings or RegistrySettings()
    watch.stage(f"reading {plan.recipe_file}")
    recipe = read_recipe(plan.recipe_file)
    bases = settings.state_dir / "base"
    sets = read_sets(recipe, base_at_hand(plan.base, bases))
    for sentence in sets.sentences():
        watch.stage(sentence)
    folder = plan.trained or plan.out or _default_out(settings, recipe)
    check_writable(folder)
    watch.stage("preparing the base model")
    base_folder = prepare_base(plan.base, bases, watch.stage)
    with _registry_of(plan, settings) as registry:
        base_info = registry and check_can_publish(registry, recipe, base_folder)
        watch.stage("encoding the rows")
        tokenizer = _tokenizer(base_folder, recipe, sets.train)
        rows = _encoded(tokenizer, recipe, sets)
        watch.stage("loading the base model")
        prepared = _prepare(load_base(base_folder, tokenizer), rows, recipe, watch)
        trained, folder = _trained(plan, prepared, made_of(recipe, sets, prepared.base), recipe, folder, watch)
        with _kept(plan, recipe, folder, watch):
            found = _evaluate(trained, prepared, watch)
            watch.stage("proving the effect")
            probes = prove_effect(trained.model, prepared.texts)
            write_proof(probes, folder)
            published = None
            if registry and base_info:
                watch.stage("publishing")
                ingredients = Ingredients(recipe, sets, base_info.digest)
                published = publish(registry, folder, ingredients, lineage(ingredients, trained, found))
    return Outcome(
        recipe=recipe,
        folder=folder,
        base_name=prepared.base.name,
        trained=trained,
        data=sets.overlap,
        evaluation=found,
        largest_effect=max(probe.largest_effect for probe in probes),
        version=published.version.name if published else None,
        manifest_digest=published.version.manifest_digest if published else None,
        created=bool(published and published.created),
    )


def _tokenizer(base_folder: Path, recipe: Recipe, rows: Dataset) -> Any:
    """The base's, which must have a chat template if the rows are turns."""
    tokenizer = load_tokenizer(base_folder)
    if rows.needs_template and not tokenizer.chat_template:
        raise RecipeError(
            f'{recipe.file}: rows of form "{rows.format}", and the base has no chat template; write rows of form '
            '"completion", or take another base'
        )
    return tokenizer


def _encoded(tokenizer: Any, recipe: Recipe, sets: Sets) -> list[list[Encoded]]:
    """Training and held-out rows. DataError lists the faults of both."""
    section = recipe.model.data
    rules = Rules(recipe.model.training.max_length_tokens, section.overlong, section.special_tokens_in_prompts)

    def encoded(data: Dataset) -> Callable[[], list[Encoded]]:
        return lambda: encode_all(tokenizer, data.examples, file=str(data.file), rules=rules)

    return all_of(encoded(sets.train), encoded(sets.heldout))


def _prepare(base: LoadedBase, rows: list[list[Encoded]], recipe: Recipe, watch: Watch) -> _Prepared:
    check_targets(base, recipe.model)
    train_rows, heldout = rows[0], _whole(rows[1], watch)
    texts = probe_texts(heldout, train_rows)
    asked = examination(heldout, recipe.model.evaluation)
    if asked.too_long:
        watch.stage(
            f"evaluation.max_new_tokens is {asked.max_new_tokens}, and {asked.too_long} of {len(asked.rows)} held-out "
            f"answers are longer ({asked.longest_reference} tokens at most): these cannot be right"
        )
    watch.stage(f"asking the base {len(asked.rows)} held-out rows")
    return _Prepared(base, train_rows, asked, texts, examine(base.model, base.tokenizer, asked))


def _whole(heldout: list[Encoded], watch: Watch) -> list[Encoded]:
    """The rows whose answers were not truncated: to the others no answer can be right."""
    whole = [row for row in heldout if not row.cut]
    if not whole:
        raise RecipeError("every held-out row is longer than training.max_length_tokens; raise it, or shorten the rows")
    if len(whole) < len(heldout):
        left_out = len(heldout) - len(whole)
        watch.stage(f"{left_out} held-out rows are longer than training.max_length_tokens and are not scored")
    return whole


def _trained(
    plan: Plan, prepared: _Prepared, digest: str, recipe: Recipe, folder: Path, watch: Watch
) -> tuple[Trained, Path]:
    """Train and save, or take up what was saved; the adapter and its folder."""
    if plan.trained is not None:
        watch.stage(f"taking up the adapter in {folder}")
        return load(prepared.base, folder, digest), folder
    answer_tokens = sum(len(row.completion_ids) for row in prepared.train)
    watch.stage(f"training on {len(prepared.train)} rows ({answer_tokens} answer tokens)")
    trained = train(prepared.base, Rows(prepared.train), recipe.model, watch)
    saved_in = save(trained, folder, digest)
    if saved_in != folder:
        watch.stage(f"{folder} cannot be written to any more; the adapter is in {saved_in}")
    return trained, saved_in


def _evaluate(trained: Trained, prepared: _Prepared, watch: Watch) -> Evaluation:
    asked, tokenizer = prepared.asked, prepared.base.tokenizer
    watch.stage(f"asking the adapter {len(asked.rows)} held-out rows")
    return evaluation(tokenizer, asked, prepared.base_result, examine(trained.model, tokenizer, asked))


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
def _registry_of(plan: Plan, settings: RegistrySettings) -> Iterator[Registry | None]:
    if not plan.publish:
        yield None
        return
    with Registry.open(settings) as registry:
        yield registry


def _default_out(settings: RegistrySettings, recipe: Recipe) -> Path:
    section = recipe.model.adapter
    return settings.state_dir / "trained" / section.tenant / section.name
