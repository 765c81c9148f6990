"""Every kind of engine. A kind is a folder of its own, an object that is an `EngineKind`, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.engines.engine import VLLM, Engine
from gateway.engines.kind import EngineKind
from gateway.engines.vllm.kind import Vllm
from registry.errors import InvalidInput

KINDS: Mapping[str, EngineKind] = {VLLM: Vllm()}


def kind_of(engine: Engine) -> EngineKind:
    """What an engine is one of."""
    return KINDS[engine.kind]


def base_of_adapters(engine: Engine) -> str | None:
    """Digest of the base whose adapters an engine can hold; `None` where its kind takes none."""
    return engine.base_digest if kind_of(engine).takes_adapters else None


def takes_adapters(kind: str) -> bool:
    """Whether adapters can be loaded on engines of a kind; of one that there is not they cannot."""
    return kind in KINDS and KINDS[kind].takes_adapters


def require_kind(kind: str) -> None:
    """Raises `InvalidInput` for one that there is not."""
    if kind not in KINDS:
        raise InvalidInput(f"kind is {kind[:40]!r}; engines are {', '.join(sorted(KINDS))}", param="kind")
