"""The table of every recipe key, made from the models that check recipes.

`docs/recipe.md` holds it, and a test holds the two against each other.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.recipe import RecipeModel

HEADINGS = ("key", "default", "unit", "allowed", "meaning")
SIGNS: dict[type, tuple[str, str]] = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


def recipe_tables() -> str:
    """One Markdown table for each section of RECIPE.toml."""
    return "\n\n".join(_section(name, field) for name, field in RecipeModel.model_fields.items()) + "\n"


def _section(name: str, field: FieldInfo) -> str:
    model = field.annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_row(key, info) for key, info in model.model_fields.items())]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([f"### `[{name}]`", "", one_line(model.__doc__ or ""), "", *lines])


def _row(key: str, info: FieldInfo) -> tuple[str, ...]:
    default = "required" if info.is_required() else "–" if info.default is None else f"`{_toml(info.default)}`"
    extra = info.json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else None
    return f"`{key}`", default, str(unit or "–"), _allowed(info), one_line(info.description or "")


def _allowed(info: FieldInfo) -> str:
    parts = [
        f"{sign} {_toml(getattr(bound, attribute))}"
        for kind, (attribute, sign) in SIGNS.items()
        for bound in info.metadata
        if isinstance(bound, kind)
    ]
    return ", ".join(parts or _choices(info.annotation) or ["any"])


def _choices(annotation: Any) -> list[str]:
    """What an annotation admits, in TOML's words."""
    if annotation is bool:
        return ["`true`", "`false`"]
    if isinstance(annotation, type):
        return ["a path" if issubclass(annotation, PurePath) else "a name"] if annotation is not type(None) else []
    choices: list[str] = []
    for argument in get_args(annotation):
        if isinstance(argument, (str, int)):
            choices.append(f"`{_toml(argument)}`")
        elif get_args(argument)[:1] == (list[str],):
            choices.append("a list of names")
        else:
            choices.extend(_choices(argument))
    return choices


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


def one_line(text: str) -> str:
    """A text as a cell of a table."""
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
