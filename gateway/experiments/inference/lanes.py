"""Functions of numbers that are one float, or an array with one a simulated run. numpy is loaded for arrays alone."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from gateway.experiments.inference.values import Numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TINY = 1e-300
"""Stands for nothing where nothing would be divided by."""

LARGEST_EXPONENT = 709.0


def log(value: Numbers) -> Numbers:
    """The natural logarithm, of floats too small for a logarithm minus infinity."""
    if isinstance(value, float):
        return math.log(value) if value > 0 else -math.inf
    found: Numbers = _numpy().log(value)
    return found


def larger(one: Numbers, other: Numbers) -> Numbers:
    """The larger of two, lane by lane."""
    return max(one, other) if isinstance(one, float) and isinstance(other, float) else _numpy().maximum(one, other)


def sqrt(value: Numbers) -> Numbers:
    """The square root."""
    return math.sqrt(value) if isinstance(value, float) else _numpy().sqrt(value)


def exp(value: Numbers) -> Numbers:
    """The exponential; of floats too large for one infinity."""
    if isinstance(value, float):
        return math.exp(value) if value < LARGEST_EXPONENT else math.inf
    found: Numbers = _numpy().exp(value)
    return found


def where(condition: bool | NDArray[np.bool_], then: Numbers, otherwise: Numbers) -> Numbers:
    """One or the other, lane by lane."""
    if isinstance(condition, bool):
        return then if condition else otherwise
    return _numpy().where(condition, then, otherwise) if condition.ndim else then if condition else otherwise


def lane(state: Any, number: int) -> Any:
    """One lane of a state, as a state of floats."""
    if isinstance(state, _numpy().ndarray):
        return state[number].item()
    if isinstance(state, tuple):
        return tuple([lane(one, number) for one in state])
    kind: Any = state.__class__
    names = _names(kind)
    return kind(*[lane(getattr(state, name), number) for name in names]) if names else state


@cache
def _numpy() -> Any:
    import numpy as np

    return np


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind)) if is_dataclass(kind) else ()
