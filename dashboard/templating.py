"""Templates, the filters that they have, and addresses of what is served beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from dashboard.components import charts, figures
from dashboard.components.tables import columns

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"


def templates(*more: Path) -> Environment:
    """What all text passes through, and is escaped by; a name that is not there is an error and no gap."""
    environment = Environment(
        loader=FileSystemLoader([FOLDER / "templates", *more]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(figures.FILTERS)
    environment.filters.update(columns=columns, goal=goal, ticked=ticked)
    helpers: tuple[Callable[..., Any], ...] = (asset, icon, charts.gauge, charts.spark)
    environment.globals.update({one.__name__: one for one in helpers})
    return environment


def goal(swap: Mapping[str, Any]) -> str:
    """Where the traffic of a swap goes: a version, or several with their parts."""
    arms = [(arm["version"].partition("@")[2] or arm["version"], arm["weight"]) for arm in swap["arms"]]
    return arms[0][0] if len(arms) == 1 else ", ".join(f"{name} {weight / 100:g} %" for name, weight in arms)


def ticked(text: object) -> Markup:
    """Text whose parts between backticks are code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # one of them has no other
        return escape(text)
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


@cache
def asset(name: str) -> str:
    """Address of a file in `static/`, which changes with its bytes, so that browsers may keep it for ever."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def icon(name: str, label: str = "") -> Markup:
    """A drawing of `static/icons.svg`; without a label it is decoration."""
    about = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="icon" {}><use href="{}#{}"/></svg>').format(about, asset("icons.svg"), name)


class Assets(StaticFiles):
    """Files whose address names their bytes."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        """One of them."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        named = b"v=" in scope.get("query_string", b"")
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if named else "no-cache"
        return response
