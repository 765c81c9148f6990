"""RECIPE.toml: everything that decides an adapter, in one file that is kept with it.

Paths in it are relative to the file itself. Unknown keys are refused: a typing error must not become a default.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator

from registry.training.sections import DataOptions, Section, TrackingSection, TrainingOptions
from trainer.errors import RecipeError
from trainer.recipe_faults import explained, read_as_meant

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class AdapterSection(Section):
    """Whose adapter it is and what it is called."""

    tenant: str = Field(pattern=NAME, description="Tenant that owns the adapter; lower-case letters, digits, dashes.")
    name: str = Field(pattern=NAME, description="Name of the adapter inside the tenant; same alphabet.")


class DataFiles(Section):
    """Where the rows are."""

    train: Path = Field(description="JSONL file of training rows, relative to the recipe.")
    heldout: Path | None = Field(
        default=None,
        description="JSONL file of rows that are never trained on, relative to the recipe. "
        "Default: heldout_share of the training rows.",
    )

    @field_validator("train", "heldout")
    @classmethod
    def _is_there(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        """Seen from the recipe, which the context is."""
        if path is None or info.context is None:
            return path
        found = _absolute(info.context, path)
        if not _is_file(found):
            raise ValueError(f"{str(found)!r} is not a file; correct the path")
        train = info.data.get("train")
        if train is not None and found == _absolute(info.context, train):
            raise ValueError(f"{str(found)!r} is also data.train; held-out rows must not be trained on")
        return path


class DataSection(DataOptions, DataFiles):
    """The rows."""

    @field_validator("heldout_share", "heldout_seed")
    @classmethod
    def _held_out_once(cls, given: float, info: ValidationInfo) -> float:
        if info.data.get("heldout") is not None:
            raise ValueError(f"{info.field_name} holds rows out when heldout is left out; give one of the two")
        return given


class LaunchSection(Section):
    """Several processes or GPUs. Jobs have no such section: it is about the machine."""

    accelerate_config: Path | None = Field(
        default=None,
        description="Configuration file of Hugging Face accelerate (`accelerate config`), relative to the recipe: "
        "training runs by `accelerate launch` with it, for several GPUs, FSDP or DeepSpeed. Default: one process.",
    )

    @field_validator("accelerate_config")
    @classmethod
    def _is_there(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None or info.context is None or _is_file(_absolute(info.context, path)):
            return path
        raise ValueError(f"{str(_absolute(info.context, path))!r} is not a file; correct the path")


class Subject(Section):
    """What is trained on what."""

    adapter: AdapterSection
    data: DataSection


class RecipeModel(TrainingOptions, Subject):
    """The sections of RECIPE.toml."""

    launch: LaunchSection = LaunchSection()
    tracking: TrackingSection = TrackingSection()


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe that has been read and checked. `text` is the file's exact text, `digest` its sha256 (hex)."""

    file: Path
    text: str
    digest: str
    model: RecipeModel

    @property
    def train_file(self) -> Path:
        """Absolute path of the training rows."""
        return _absolute(self.file, self.model.data.train)

    @property
    def heldout_file(self) -> Path | None:
        """Absolute path of the held-out rows; None when they are held out of the training file."""
        heldout = self.model.data.heldout
        return None if heldout is None else _absolute(self.file, heldout)

    @property
    def accelerate_config(self) -> Path | None:
        """Absolute path of the configuration of several processes; None for one."""
        config = self.model.launch.accelerate_config
        return None if config is None else _absolute(self.file, config)


def read_recipe(file: Path) -> Recipe:
    """Read and check a recipe; RecipeError names field, value and remedy of everything that is wrong."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as failed:
        raise RecipeError(f"{file}: cannot be read ({failed.strerror}); give the path of a recipe file") from failed
    except UnicodeDecodeError as failed:
        raise RecipeError(f"{file}: is not UTF-8 text; save it as UTF-8") from failed
    except tomllib.TOMLDecodeError as failed:
        raise RecipeError(f"{file}: is not valid TOML: {failed}") from failed
    except (ValueError, RecursionError) as failed:  # tomllib's own about numbers without end, and about nesting
        reason = "its values are nested without end" if isinstance(failed, RecursionError) else str(failed)
        raise RecipeError(f"{file}: cannot be read as TOML ({reason}); correct it") from failed
    return Recipe(file, text, hashlib.sha256(text.encode()).hexdigest(), _checked(file, document))


def _checked(file: Path, document: dict[str, Any]) -> RecipeModel:
    keys = {name: tuple(section.model_fields) for name, section in _sections().items()}
    meant, faults = read_as_meant(document, keys)
    try:
        model = RecipeModel.model_validate(meant, context=file)
    except ValidationError as failed:
        faults.extend(explained(failed, keys))
    if faults:
        count = f" {len(faults)} fault(s)\n " if len(faults) > 1 else ""
        raise RecipeError(f"{file}:{count} " + "\n  ".join(faults))
    return model


def _sections() -> dict[str, type[BaseModel]]:
    return {name: field.annotation for name, field in RecipeModel.model_fields.items()}  # type: ignore[misc]


def _absolute(recipe: Path, path: Path) -> Path:
    """`path` seen from the recipe; a path that no system can have stays as it is, and is no file."""
    try:
        return (recipe.parent / path).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, with a NUL in it, a loop of links
        return recipe.parent / path


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
