"""What rides in `switchyard` of an order, checked by the models that the trainer reads a recipe with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from gateway.api.fields.checks import missing
from gateway.api.fields.faults import Faults
from gateway.api.order_faults import expected_of, value_of
from gateway.errors import BadRequest
from gateway.training.body import OPTIONS
from registry.training.jobs import JobOrder
from registry.training.options import JobOptions, Misplaced, checked


def check_options(order: JobOrder) -> None:
    """Raises `BadRequest` for all that could not be trained."""
    try:
        checked(order)
    except Misplaced as error:
        raise BadRequest(
            f"'{OPTIONS}.{error.path}': {error}.", param=f"{OPTIONS}.{error.path}", code="invalid_value"
        ) from None
    except ValidationError as error:
        faults = Faults()
        for found in error.errors():
            faults.add(_fault(found))
        faults.settle()


def check_integrations(order: JobOrder, entity: str | None) -> None:
    """Runs of tenants are kept with the operator's key, so only in the operator's entity. Raises `BadRequest`."""
    if not order.integrations:
        return
    if entity is None:
        raise BadRequest(
            "'integrations' asks for Weights & Biases, which this operator does not offer (SWITCHYARD_WANDB_ENTITY); "
            "leave it out.",
            param="integrations",
            code="integration_not_offered",
        )
    asked = order.integrations[0]["wandb"].get("entity")
    if asked not in (None, entity):
        raise BadRequest(
            f"'integrations[0].wandb.entity' is {asked!r}; runs are kept in {entity!r} here, so leave it out.",
            param="integrations[0].wandb.entity",
            code="integration_not_offered",
        )


def _fault(found: Mapping[str, Any]) -> BadRequest:
    path, known = _place(found["loc"])
    param = "".join((OPTIONS, *(f"[{part}]" if type(part) is int else f".{part}" for part in path)))[:200]
    if found["type"] == "extra_forbidden":
        nearest = get_close_matches(str(path[-1])[:80], known, n=1, cutoff=0.6)
        remedy = f"Did you mean '{nearest[0]}'?" if nearest else f"It takes {', '.join(known)}."
        return BadRequest(f"'{param}' is not a known field. {remedy}", param=param, code="unknown_parameter")
    if found["type"] == "value_error":
        return BadRequest(f"'{param}': {found['ctx']['error']}.", param=param, code="invalid_value")
    if found["type"] == "missing":
        return missing(param)
    return BadRequest(
        f"'{param}' is {value_of(found)}; expected {expected_of(found)}.", param=param, code="invalid_value"
    )


def _place(found: Sequence[str | int]) -> tuple[list[str | int], list[str]]:
    """The path of a field and those that there are beside it, without pydantic's names for kinds of a value."""
    path: list[str | int] = []
    known: list[str] = []
    shape: Any = JobOptions
    for part in found:
        section = _section(shape)
        if type(part) is str:
            if section is None:
                continue
            known = sorted(section.model_fields)
            shape = section.model_fields[part].annotation if part in section.model_fields else None
        path.append(part)
    return path, known


def _section(shape: Any) -> type[BaseModel] | None:
    """That a field holds: itself, or one, or many of it."""
    parts = (shape, *get_args(shape))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
