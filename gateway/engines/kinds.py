"""Every kind of engine. A kind is a folder of its own, an object that is an `EngineKind`, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.engines.engine import Engine, Kind
from gateway.engines.kind import EngineKind
from gateway.engines.vllm.kind import Vllm

KINDS: Mapping[Kind, EngineKind] = {"vllm": Vllm()}


def kind_of(engine: Engine) -> EngineKind:
    """What an engine is one of."""
    return KINDS[engine.kind]
