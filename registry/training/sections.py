"""Sections of a recipe that a file and a job share. A recipe's file adds whose adapter it is and where its rows are.

Only pydantic: a gateway checks a job with the very models that the trainer reads a recipe with. Unknown keys are
refused, because a typing error must not become a default.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

MAX_RANK = 512
"""The largest rank that any vLLM engine can be started with."""

Method = Literal["sft", "dpo"]
ModuleName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.-]+$")]
Tuning = Literal["lora", "qlora", "full", "prompt", "prefix", "ia3"]
SERVED: frozenset[Tuning] = frozenset({"lora", "qlora"})
"""Kinds of tuning that make an adapter which vLLM loads beside its base."""
SOFT_PROMPTS: frozenset[Tuning] = frozenset({"prompt", "prefix"})


class Section(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelSection(Section):
    """Which weights are trained. vLLM serves LoRA only: what the others make is evaluated and kept, not published."""

    tuning: Tuning = Field(
        default="lora",
        description='"lora" = small matrices beside the linear layers; "qlora" = the same, on a base in four '
        'bits (NF4); "full" = all weights, a new base; "prompt" = vectors before the text; "prefix" = keys and '
        'values before every layer; "ia3" = factors of activations.',
    )
    continue_from: str | None = Field(
        default=None,
        max_length=200,
        description="A version to go on from, as tenant/adapter@1.0. Its rank and targets are kept. "
        "Default: begin with an adapter that changes nothing.",
    )

    @field_validator("continue_from")
    @classmethod
    def _has_an_adapter(cls, version: str | None, info: ValidationInfo) -> str | None:
        if version is not None and info.data.get("tuning") not in SERVED:
            raise ValueError('only model.tuning = "lora" and "qlora" go on from a version')
        return version


class DataOptions(Section):
    """How rows are read."""

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
    format: Literal["auto", "chat", "completion", "instruction", "preference"] = Field(
        default="auto",
        description='"chat" = {"messages": [...]} rows; "instruction" = {"instruction", "input", "output"}; '
        '"completion" = {"prompt", "completion"}, plain text; "preference" = {"prompt", "chosen", "rejected"} or '
        'OpenAI\'s {"input", "preferred_output", "non_preferred_output"}; "auto" = what most rows are.',
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


class LoraSection(Section):
    """The shape of the adapter. Only what vLLM serves can be asked for."""

    r: int = Field(
        default=8, ge=1, le=MAX_RANK, description="Rank; the engine's max_lora_rank must allow it. 8 to 64 is usual."
    )
    alpha: int = Field(default=32, ge=1, le=1024, description="Scale: updates are multiplied by alpha / r.")
    rslora: bool = Field(
        default=False,
        description="Rank-stabilised: updates are multiplied by alpha / √r, so that large ranks are not damped.",
    )
    dropout: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        json_schema_extra={"unit": "share"},
        description="Share of adapter inputs dropped in training; 0.05 to 0.1 where rows are few.",
    )
    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1, max_length=128)] = Field(
        default="all-linear", description='"all-linear", or a list of module names such as ["q_proj", "v_proj"].'
    )


class PromptSection(Section):
    """Prompt and prefix tuning."""

    virtual_tokens: int = Field(
        default=16,
        ge=1,
        le=1024,
        json_schema_extra={"unit": "tokens"},
        description="Trained places before the text; they take as much of the context.",
    )


class DpoSection(Section):
    """Training on preferences, `training.method = "dpo"`."""

    beta: float = Field(
        default=0.1, gt=0, le=2, description="How strongly the result is held near where it began; larger is nearer."
    )
    loss: Literal["sigmoid", "hinge", "ipo"] = Field(
        default="sigmoid",
        description='"sigmoid" = DPO\'s own; "hinge" = only pairs that are not yet told apart; "ipo" = a set margin.',
    )


class TrainingSection(Section):
    """How long and how fast. Exactly one of `max_steps` and `epochs` must be given."""

    method: Method = Field(
        default="sft", description='"sft" = learn the answers; "dpo" = prefer chosen answers to rejected ones.'
    )
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
    batch_size: int = Field(
        default=8, ge=1, le=1024, json_schema_extra={"unit": "rows"}, description="Rows in memory at once."
    )
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        le=1024,
        json_schema_extra={"unit": "batches"},
        description="Batches to a step: their gradients are added up, so a step sees batch_size times as many rows.",
    )
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Peak learning rate. Default by method and tuning: 5e-4 for sft with lora, 1e-5 for dpo, 2e-5 for "
        "full, 1e-2 for prompt and prefix, 5e-3 for ia3.",
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="How the rate falls to zero after the warm-up; with constant it stays."
    )
    warmup_ratio: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        json_schema_extra={"unit": "share of steps"},
        description="Share of the steps in which the rate rises.",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="Share of each weight, times the rate, taken off at every step."
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, le=1000, description="Gradients with a larger norm are shortened to it."
    )
    optimizer: Literal["adamw", "paged_adamw_8bit"] = Field(
        default="adamw",
        description='"paged_adamw_8bit" keeps its moments in 8 bits and pages them out of a full GPU; '
        "without a GPU adamw is used instead, which is said.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description='Of base and products in training. "auto" = bfloat16 on a GPU, float32 on a CPU.',
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Compute activations again instead of keeping them: less memory, about a third slower.",
    )
    packing: bool = Field(
        default=False,
        description="Put several rows into one sequence of max_length_tokens that do not see each other: "
        "less padding where rows differ in length. sft only.",
    )
    max_length_tokens: int = Field(
        default=512,
        ge=8,
        le=1_048_576,
        json_schema_extra={"unit": "tokens"},
        description="Longest row, prompt and completion.",
    )
    eval_steps: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        json_schema_extra={"unit": "steps"},
        description="The loss on held-out rows is taken after every so many steps. Default: up to ten times in a run, "
        "fewer where that would take more than about a tenth of the time.",
    )
    early_stopping_patience: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        json_schema_extra={"unit": "evaluations"},
        description="Stop when the loss on held-out rows has not fallen in so many evaluations, and keep the weights "
        "with the lowest one. Default: train to the end and keep the last ones.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Decides initial weights and the order of rows.")

    @field_validator("epochs")
    @classmethod
    def _one_length(cls, epochs: float | None, info: ValidationInfo) -> float | None:
        if "max_steps" in info.data and (info.data["max_steps"] is None) == (epochs is None):
            raise ValueError("give exactly one of max_steps and epochs")
        return epochs

    @field_validator("packing")
    @classmethod
    def _packs_answers(cls, packing: bool, info: ValidationInfo) -> bool:
        if packing and info.data.get("method") == "dpo":
            raise ValueError('pairs of answers cannot be packed; leave packing out, or use method = "sft"')
        return packing


class EvaluationSection(Section):
    """How held-out rows are scored."""

    metric: Literal["json_exact", "label_exact"] | None = Field(
        default=None,
        description='"json_exact" = same JSON value; "label_exact" = same text apart from outer blanks. '
        "Default: only the loss on held-out rows is measured, and no answers are generated.",
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


Tracker = Literal["wandb", "mlflow", "tensorboard"]


class TrackingSection(Section):
    """Where the course of a training is told beside here. It decides nothing about the adapter."""

    report_to: list[Tracker] = Field(
        default=[],
        max_length=3,
        description='"wandb", "mlflow", "tensorboard": packages that must be installed beside the trainer. wandb needs '
        "WANDB_API_KEY, mlflow MLFLOW_TRACKING_URI.",
    )
    project: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Project of wandb, experiment of mlflow. Default: theirs.",
    )
    run_name: str | None = Field(
        default=None, min_length=1, max_length=200, description="Name of the run. Default: tenant/adapter."
    )
    entity: str | None = Field(
        default=None, min_length=1, max_length=200, description="Of wandb: who owns the project."
    )
    tags: list[str] = Field(default=[], max_length=50, description="Of wandb.")
    folder: str | None = Field(
        default=None,
        min_length=1,
        max_length=1_000,
        description="Of tensorboard: where it writes, relative to the recipe. Default: tensorboard.",
    )


class TrainingOptions(Section):
    """The sections that decide how an adapter is trained: a recipe and a job's options both extend this.

    A section that the asked kind of training does not look at may not be given: it would be without effect.
    """

    model: ModelSection = ModelSection()
    lora: LoraSection = LoraSection()
    prompt: PromptSection = PromptSection()
    training: TrainingSection
    dpo: DpoSection = DpoSection()
    evaluation: EvaluationSection = EvaluationSection()

    @field_validator("lora", "prompt")
    @classmethod
    def _of_the_tuning(cls, section: Section, info: ValidationInfo) -> Section:
        wanted = SERVED if info.field_name == "lora" else SOFT_PROMPTS
        model = info.data.get("model")
        if section.model_fields_set and model is not None and model.tuning not in wanted:
            raise ValueError(
                f'model.tuning = "{model.tuning}" does not look at it; remove the section, or set model.tuning to '
                f"{' or '.join(sorted(wanted))}"
            )
        if (
            info.field_name == "lora"
            and section.model_fields_set - {"dropout"}
            and model is not None
            and model.continue_from
        ):
            raise ValueError("the shape is that of model.continue_from; remove the section, but for dropout")
        return section

    @field_validator("training")
    @classmethod
    def _can_be_combined(cls, training: TrainingSection, info: ValidationInfo) -> TrainingSection:
        model = info.data.get("model")
        if training.method == "dpo" and model is not None and model.tuning not in SERVED:
            raise ValueError(f'method = "dpo" needs model.tuning = "lora" or "qlora", not "{model.tuning}"')
        if training.packing and model is not None and model.tuning in SOFT_PROMPTS:
            raise ValueError(
                f'packed rows would see each other with model.tuning = "{model.tuning}"; set packing = false'
            )
        if training.gradient_checkpointing and model is not None and model.tuning == "prefix":
            raise ValueError(
                'activations are not computed again with model.tuning = "prefix"; leave gradient_checkpointing out'
            )
        return training

    @field_validator("dpo")
    @classmethod
    def _of_the_method(cls, dpo: DpoSection, info: ValidationInfo) -> DpoSection:
        training = info.data.get("training")
        if dpo.model_fields_set and training is not None and training.method != "dpo":
            raise ValueError('training.method = "sft" does not look at it; remove the section, or set method = "dpo"')
        return dpo

    @property
    def learning_rate(self) -> float:
        """The peak rate: the one that is given, or the usual one for this method and tuning."""
        return self.training.learning_rate or usual_learning_rate(self.training.method, self.model.tuning)


def why_not_served(tuning: Tuning) -> str | None:
    """Why what this kind of tuning makes is not published, and what can be done with it; None where it is."""
    if tuning in SERVED:
        return None
    if tuning == "full":
        return (
            'vLLM loads LoRA adapters only, and model.tuning = "full" makes a base of its own: start an engine with '
            "its folder"
        )
    return f'vLLM loads LoRA adapters only, so what model.tuning = "{tuning}" makes cannot be published'


def usual_learning_rate(method: Method, tuning: Tuning) -> float:
    """Peak learning rate where none is given: about ten times full tuning's for LoRA, a fiftieth of that for DPO."""
    if method == "dpo":
        return 1e-5
    return {"lora": 5e-4, "qlora": 5e-4, "full": 2e-5, "prompt": 1e-2, "prefix": 1e-2, "ia3": 5e-3}[tuning]
