"""What FastAPI finds out of the signatures of routes, found out once.

Each gateway of a test makes the same routes, which takes more than half a second of its processor. A process that is no
test makes them once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from fastapi import routing
from fastapi.dependencies import utils
from fastapi.dependencies.models import Dependant
from fastapi.utils import create_model_field

LISTS = [field.name for field in fields(Dependant) if field.default_factory is list]
"""Routes append to these, so each has its own."""


class Remembered:
    """FastAPI's functions, with what they have answered. The code of a route is the same in every gateway, and so are
    what its signature says and the objects that are its defaults; what it closes over is not.
    """

    def __init__(self) -> None:
        self._dependants: dict[Any, tuple[Dependant, object]] = {}
        self._fields: dict[Any, Any] = {}
        self._bodies: dict[Any, tuple[Any, object]] = {}

    def dependant(self, *, call: Callable[..., Any], **named: Any) -> Dependant:
        """`get_dependant`."""
        codes = _code_of(call), _code_of(inspect.unwrap(call))
        if None in codes:
            return _dependant(call=call, **named)
        defaults = _defaults_of(inspect.unwrap(call))
        key = (codes, tuple(map(id, defaults)), repr(sorted(named.items())))
        if key not in self._dependants:
            self._dependants[key] = _dependant(call=call, **named), defaults  # which live on, so that ids stay theirs
        found, _ = self._dependants[key]
        own: dict[str, Any] = {name: list(getattr(found, name)) for name in LISTS}
        return replace(found, call=call, **own)

    def field(self, **named: Any) -> Any:
        """`create_model_field`, of what a route answers."""
        key = tuple(sorted(named.items()))
        if key not in self._fields:
            self._fields[key] = _field(**named)
        return self._fields[key]

    def body(self, *, flat_dependant: Dependant, **named: Any) -> Any:
        """`get_body_field`."""
        params = list(flat_dependant.body_params)
        key = (tuple(map(id, params)), tuple(sorted(named.items())))
        if key not in self._bodies:
            self._bodies[key] = _body(flat_dependant=flat_dependant, **named), params
        return self._bodies[key][0]


_dependant, _field, _body = utils.get_dependant, create_model_field, utils.get_body_field


def _code_of(call: Any) -> object:
    """Of a function, a method, or an object that can be called; `None` of what is none of these."""
    if isinstance(call, type):
        return None
    return getattr(call, "__code__", None) or getattr(type(call).__call__, "__code__", None)


def _defaults_of(call: Any) -> tuple[object, ...]:
    function = call if hasattr(call, "__code__") else type(call).__call__
    return (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())


@pytest.fixture(scope="session", autouse=True)
def routes() -> Iterator[None]:
    """Gateways of this process share what is the same of their routes."""
    remembered = Remembered()
    with pytest.MonkeyPatch.context() as patch:
        for module in (utils, routing):
            patch.setattr(module, "get_dependant", remembered.dependant)
        patch.setattr(routing, "create_model_field", remembered.field)
        patch.setattr(routing, "get_body_field", remembered.body)
        yield
