"""RECIPE.toml: everything that decides an adapter, in one file that is kept with it.

Paths in it are relative to the file itself. Unknown keys are refused: a typing error must not become a default.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from trainer.errors import RecipeError
from trainer.recipe_faults import explained, read_as_meant

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AdapterSection(_Section):
    """Whose adapter it is and what it is called."""

    tenant: str = Field(pattern=NAME, description="Tenant that owns the adapter; lower-case letters, digits, dashes.")
    name: str = Field(pattern=NAME, description="Name of the adapter inside the tenant; same alphabet.")


class DataSection(_Section):
    """The rows."""

    train: Path = Field(description="JSONL file of training rows, relative to the recipe.")
    heldout: Path | None = Field(
        default=None,
        description="JSONL file of rows that are never trained on, relative to the recipe. "
        "Default: heldout_share of the training rows.",
    )
    heldout_share: float = Field(
        default=0.15,
        ge=0.01,
        le=0.5,
        json_schema_extra={"unit": "share of rows"},
        description="Share of the rows of data.train to hold out when heldout is left out. "
        "Rows with the same prompt stay on one side.",
    )
    heldout_seed: int = Field(default=0, ge=0, lt=2**32, description="Decides which rows are held out.")
    max_seen_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        json_schema_extra={"unit": "share of held-out rows"},
        description="Largest share of held-out rows that may ask what training rows ask "
        "(apart from case and blanks); with more, the run is refused.",
    )
    format: Literal["chat", "completion"] = Field(
        description='"chat" = {"messages": [...]} rows; "completion" = {"prompt", "completion"} rows.'
    )
    overlong: Literal["refuse", "truncate"] = Field(
        default="refuse",
        description='A row longer than training.max_length_tokens: "refuse" the file, or "truncate" the row\'s answer.',
    )
    special_tokens_in_prompts: Literal["refuse", "as_served"] = Field(
        default="refuse",
        description='A prompt that quotes a special token of the base, such as its stop token: "refuse" the file, or '
        '"as_served": train on the control token that the engine makes of it. Answers may never quote one.',
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

    @field_validator("heldout_share", "heldout_seed")
    @classmethod
    def _held_out_once(cls, given: float, info: ValidationInfo) -> float:
        if info.data.get("heldout") is not None:
            raise ValueError(f"{info.field_name} holds rows out when heldout is left out; give one of the two")
        return given


class LoraSection(_Section):
    """The shape of the adapter. Only what vLLM serves can be asked for."""

    r: Literal[1, 2, 4, 8, 16, 32, 64] = Field(default=8, description="Rank; the engine's max_lora_rank must allow it.")
    alpha: int = Field(default=32, ge=1, le=1024, description="Scale: updates are multiplied by alpha / r.")
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        json_schema_extra={"unit": "share"},
        description="Share of adapter inputs dropped in training.",
    )
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = Field(
        default="all-linear", description='"all-linear", or a list of module names such as ["q_proj", "v_proj"].'
    )


class TrainingSection(_Section):
    """How long and how fast. Exactly one of `max_steps` and `epochs` must be given."""

    max_steps: int | None = Field(
        default=None, ge=1, le=10_000_000, json_schema_extra={"unit": "steps"}, description="Optimiser steps."
    )
    epochs: float | None = Field(
        default=None,
        validate_default=True,
        gt=0,
        le=10_000,
        json_schema_extra={"unit": "passes"},
        description="Passes over the training rows.",
    )
    batch_size: int = Field(default=8, ge=1, le=1024, json_schema_extra={"unit": "rows"}, description="Rows per step.")
    learning_rate: float = Field(default=5e-4, gt=0, le=0.1, description="Peak learning rate of AdamW.")
    warmup_ratio: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        json_schema_extra={"unit": "share of steps"},
        description="Share of the steps in which the rate rises.",
    )
    max_length_tokens: int = Field(
        default=512,
        ge=8,
        le=1_048_576,
        json_schema_extra={"unit": "tokens"},
        description="Longest row, prompt and completion.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Decides initial weights and the order of rows.")

    @field_validator("epochs")
    @classmethod
    def _one_length(cls, epochs: float | None, info: ValidationInfo) -> float | None:
        if "max_steps" in info.data and (info.data["max_steps"] is None) == (epochs is None):
            raise ValueError("give exactly one of max_steps and epochs")
        return epochs


class EvaluationSection(_Section):
    """How held-out rows are scored."""

    metric: Literal["json_exact", "label_exact"] = Field(
        description='"json_exact" = same JSON value; "label_exact" = same text apart from outer blanks.'
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        json_schema_extra={"unit": "tokens"},
        description="Longest answer generated. Default: the longest held-out answer and a quarter more, at least 8.",
    )
    max_rows: int = Field(
        default=256,
        ge=4,
        le=1_000_000,
        json_schema_extra={"unit": "rows"},
        description="Held-out rows used, from the start of the file.",
    )


class RecipeModel(_Section):
    """The sections of RECIPE.toml."""

    adapter: AdapterSection
    data: DataSection
    lora: LoraSection = LoraSection()
    training: TrainingSection
    evaluation: EvaluationSection


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
