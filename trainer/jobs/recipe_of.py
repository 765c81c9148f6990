"""From a job to its recipe: one frozen TOML text that decides the result, in which nothing is left to a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.training.jobs import JobOrder
from registry.training.options import JobOptions, settled
from registry.training.sections import SERVED, SOFT_PROMPTS

SECTIONS = ("model", "data", "lora", "prompt", "training", "dpo", "evaluation")


def recipe_of(
    order: JobOrder, rows: int, *, validation_file: bool, wandb_entity: str | None = None
) -> tuple[str, Mapping[str, int | float]]:
    """The text of RECIPE.toml for an order whose training file has so many rows, and the hyperparameters in force.

    Integrations are those in the entity that is given, if one is. Raises pydantic's `ValidationError` for options that
    cannot be trained.
    """
    import tomli_w

    found = settled(order, rows)
    document: dict[str, Any] = {"adapter": {"tenant": order.tenant, "name": order.adapter}}
    for section in SECTIONS:
        if table := _table(found.options, section, validation_file=validation_file):
            document[section] = table
    document["data"] = {
        "train": "train.jsonl",
        **({"heldout": "heldout.jsonl"} if validation_file else {}),
        **document["data"],
    }
    if order.integrations and wandb_entity is not None:
        document["tracking"] = _tracking(order, wandb_entity)
    return tomli_w.dumps(document), found.hyperparameters


def _tracking(order: JobOrder, entity: str) -> dict[str, Any]:
    """OpenAI's `integrations`, of which there is one: W&B. The key is the operator's, so a tenant's project is one of
    his entity, and begins with the tenant's name; no tenant's has a dot, so none is another's.
    """
    wandb = order.integrations[0]["wandb"]
    named = {"project": f"{order.tenant}.{wandb['project']}", "run_name": wandb.get("name"), "entity": entity}
    return {
        "report_to": ["wandb"],
        **{name: value for name, value in named.items() if value},
        "tags": list(wandb.get("tags", [])),
    }


def _table(options: JobOptions, section: str, *, validation_file: bool) -> dict[str, Any]:
    """Every value of a section that is looked at; a section that is not may not be given."""
    table: dict[str, Any] = getattr(options, section).model_dump(mode="json", exclude_none=True)
    tuning = options.model.tuning
    if section == "data" and validation_file:
        return {name: value for name, value in table.items() if name not in ("heldout_share", "heldout_seed")}
    if section == "lora" and options.model.continue_from is not None:
        return {"dropout": table["dropout"]}
    looked_at = {
        "lora": tuning in SERVED,
        "prompt": tuning in SOFT_PROMPTS,
        "dpo": options.training.method == "dpo",
    }
    return table if looked_at.get(section, True) else {}
