"""The pages. Each module and folder here that has a `PAGE` is one; its `place` is where it stands in the navigation."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from dashboard.web import Page


def _found() -> tuple[Page, ...]:
    modules = (import_module(f"{__name__}.{one.name}") for one in iter_modules(__path__))
    pages = [module.PAGE for module in modules if hasattr(module, "PAGE")]
    return tuple(sorted(pages, key=lambda page: page.place))


PAGES = _found()
