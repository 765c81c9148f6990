"""Hand a trained adapter to the registry, with everything that is needed to know where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from registry.adapters.store import Published
from registry.bases.store import BaseInfo
from registry.errors import NotFound
from registry.names import parse_ref
from registry.service import Registry
from registry.settings import RegistrySettings
from trainer.data.sets import Sets
from trainer.errors import RecipeError
from trainer.evaluation.in_training import TrainingEvaluation
from trainer.methods.receipt import Receipt
from trainer.methods.results import Trained
from trainer.recipe import Recipe

LIBRARIES = ("switchyard", "torch", "transformers", "peft", "trl")


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What went into an adapter."""

    recipe: Recipe
    sets: Sets
    base_digest: str


def lineage(made_of: Ingredients, trained: Trained, evaluation: TrainingEvaluation, receipt: Receipt) -> dict[str, Any]:
    """The version's lineage: data, recipe, base, seed, libraries and results, as JSON-ready values.

    Nothing in it depends on the clock, so training again from the same ingredients publishes the same version.
    """
    sets = made_of.sets
    return {
        "source": "train",
        "recipe": made_of.recipe.text,
        "recipe_sha256": made_of.recipe.digest,
        "train_sha256": sets.train.digest,
        "train_rows": sets.train.rows,
        "train_copies": sets.overlap.copies,
        "heldout_sha256": sets.heldout.digest,
        "heldout_rows": sets.heldout.rows,
        "heldout_seen": sets.overlap.seen,
        "held_out_by": asdict(sets.hold_out) if sets.hold_out else None,
        "base_digest": made_of.base_digest,
        "seed": made_of.recipe.model.training.seed,
        "steps": trained.steps,
        "trained_tokens": trained.trained_tokens,
        "train_loss": round(trained.train_loss, 6),
        "validation": asdict(trained.validation) if trained.validation else None,
        "masking_receipt": receipt.document(),
        "evaluation": evaluation.facts(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def check_can_publish(registry: Registry, recipe: Recipe, base_folder: Path) -> BaseInfo:
    """Fail before the training, not after it; registers the base when it is new.

    Raises NotFound without the tenant, and RecipeError when the engines do not hold adapters of this rank.
    """
    tenant, rank, limit = recipe.model.adapter.tenant, recipe.model.lora.r, registry.settings.max_lora_rank
    if tenant not in {known.name for known in registry.tenants.all()}:
        raise NotFound(
            f"there is no tenant {tenant!r}; create it with `switchyard tenants create {tenant}`, "
            "or train with --no-publish",
            param="tenant",
        )
    if rank > limit:
        raise RecipeError(
            f"{recipe.file}: lora.r = {rank} is more than the engines hold ({limit}); lower it, or raise "
            "SWITCHYARD_MAX_LORA_RANK and the engines' --max-lora-rank"
        )
    return registry.bases.adopt(base_folder)


def version_folder(recipe: Recipe, settings: RegistrySettings, base_folder: Path) -> Path | None:
    """Where the files of `model.continue_from` lie; None when the recipe begins anew.

    Raises NotFound when there is no such version, RecipeError when it is another tenant's or another base's.
    """
    name = recipe.model.model.continue_from
    if name is None:
        return None
    ref = parse_ref(name)
    if ref.version is None or ref.tenant != recipe.model.adapter.tenant:
        raise RecipeError(
            f"{recipe.file}: model.continue_from = {name!r}: give a version of the tenant "
            f"{recipe.model.adapter.tenant!r}, such as {recipe.model.adapter.tenant}/{ref.adapter}@1.0"
        )
    with Registry.open(settings) as registry:
        version, base = registry.adapters.get(ref), registry.bases.adopt(base_folder)
        if version.base_digest != base.digest:
            known = registry.bases.get(version.base_digest).name
            raise RecipeError(
                f"{recipe.file}: model.continue_from = {name!r} was trained on {known!r}, not on {base.name!r}; "
                "give that base with --base, or leave continue_from out"
            )
        return registry.version_files.materialise(version.manifest_digest)


def publish(registry: Registry, folder: Path, made_of: Ingredients, facts: Mapping[str, Any]) -> Published:
    """Make the folder the adapter's next version; raises what `Registry.adapters.publish` raises."""
    section = made_of.recipe.model.adapter
    return registry.adapters.publish(
        tenant=section.tenant,
        adapter=section.name,
        folder=folder,
        base=made_of.base_digest,
        lineage=facts,
        declared_base=made_of.base_digest,
    )
