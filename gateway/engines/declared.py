"""An engine as it was declared, and how the controller deals with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.engines.engine import Engine
from gateway.engines.kind import LOAD_TIMEOUT_S
from registry.bases.fingerprint import Fingerprint


@dataclass(frozen=True, slots=True)
class Handling:
    """How the controller deals with an engine: what workers need not know, and its key, which no link carries."""

    zero_adapter: Path
    """Folder of the all-zero adapter of its base."""
    api_key: str | None = None
    fingerprint: Fingerprint | None = None
    """What its base answers to a few questions; without one the declaration is believed."""
    refuses_other_template: bool = True
    """Whether it must not serve when it renders conversations otherwise than its base; else that is only said."""
    hung_after_s: float = 60.0
    """Requests in flight, and no step and no byte for so long: the engine hangs."""
    most_breaches: int = 5
    """Answers that no engine gives within `breach_window_s`, after which it must not serve."""
    breach_window_s: float = 60.0
    load_timeout_s: float = LOAD_TIMEOUT_S
    """In which it must have loaded an adapter."""


@dataclass(frozen=True, slots=True)
class Declared:
    """An engine of this fleet. `leaving`: it is let go when no request runs on it any more."""

    engine: Engine
    handling: Handling
    leaving: bool = False
