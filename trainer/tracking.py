"""Trackers by name: what transformers reports to, with a clear error before anything is trained."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

from registry.training.sections import TrainingOptions
from trainer.errors import RecipeError
from trainer.recipe import Recipe, RecipeModel

NEEDED: dict[str, str] = {"wandb": "WANDB_API_KEY", "mlflow": "MLFLOW_TRACKING_URI"}
"""Variables without which a tracker would ask a person, or write to a folder that nobody looks at."""
KEYLESS = ("offline", "disabled")
"""Values of WANDB_MODE with which wandb writes to a folder, or nowhere, and needs no key."""


def check_trackers(recipe: Recipe) -> None:
    """Raises RecipeError when a tracker that the recipe names is not installed, or not told where to report to."""
    for name in recipe.model.tracking.report_to:
        if importlib.util.find_spec(name) is None:
            raise RecipeError(
                f"{recipe.file}: tracking.report_to names {name!r}, which is not installed here; install it beside the "
                f"trainer (pip install {name}), or leave it out"
            )
        variable = None if os.environ.get("WANDB_MODE") in KEYLESS and name == "wandb" else NEEDED.get(name)
        if variable is not None and not os.environ.get(variable):
            raise RecipeError(
                f"{recipe.file}: tracking.report_to names {name!r}, and {variable} is not set here; set it, or leave "
                "the tracker out"
            )


def trackers(recipe: TrainingOptions) -> list[str]:
    """Those that a training reports to; transformers' `report_to`."""
    return list(recipe.tracking.report_to) if isinstance(recipe, RecipeModel) else []


def run_name(recipe: TrainingOptions) -> str | None:
    """How a tracker calls the run; `None` where there is none."""
    if not isinstance(recipe, RecipeModel):
        return None
    return recipe.tracking.run_name or f"{recipe.adapter.tenant}/{recipe.adapter.name}"


@contextmanager
def tracked(recipe: Recipe) -> Iterator[None]:
    """Inside, trackers find in the environment what the recipe says of them; what the environment says comes first."""
    section = recipe.model.tracking
    wanted = {
        "WANDB_PROJECT": section.project,
        "WANDB_NAME": run_name(recipe.model),
        "WANDB_ENTITY": section.entity,
        "WANDB_TAGS": ",".join(section.tags) or None,
        "MLFLOW_EXPERIMENT_NAME": section.project,
        "TENSORBOARD_LOGGING_DIR": str((recipe.file.parent / (section.folder or "tensorboard")).absolute()),
    }
    added = {name: value for name, value in wanted.items() if section.report_to and value and name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
