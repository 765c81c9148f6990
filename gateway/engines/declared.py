"""The fleet as the settings declare it, with each engine's base looked up in the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.engines.connection import EngineClient
from gateway.engines.vllm.quirks import Platform
from gateway.engines.vllm.zero_adapter import write_zero_adapter
from gateway.settings import GatewaySettings
from registry.bases.fingerprint import Fingerprint
from registry.bases.store import BaseInfo
from registry.errors import InvalidInput
from registry.service import Registry


@dataclass(frozen=True, slots=True)
class EngineDeclaration:
    """An engine as the settings declare it."""

    url: str
    base_digest: str
    platform: Platform
    max_cpu_loras: int
    api_key: str | None = None
    fingerprint: Fingerprint | None = None
    """What its base answers to a few questions; without one the declaration is believed."""
    prompt_logprobs: bool = True
    """Whether it survives being asked for them."""
    refuses_other_template: bool = True
    """Whether it must not serve when it renders conversations otherwise than its base; else that is only said."""
    hung_after_s: float = 60.0
    """Requests in flight, and no step and no byte for so long: the engine hangs."""


@dataclass(frozen=True, slots=True)
class Declared:
    """Every engine, and for each base (by digest) the folder of its all-zero adapter."""

    engines: tuple[EngineDeclaration, ...]
    zero_adapters: dict[str, Path]


def declared_fleet(registry: Registry, settings: GatewaySettings) -> Declared:
    """Read the declarations. Raises `InvalidInput` for a URL that is none or stands twice, or an unknown base."""
    engines = []
    zero_adapters: dict[str, Path] = {}
    for declared in settings.declared_engines():
        base = declared_base(registry, declared.base or settings.engine_base)
        platform = declared.platform or settings.engine_platform
        zero_adapters[base.digest] = write_zero_adapter(
            settings.adapter_cache_dir / f"zero-{base.digest.removeprefix('sha256:')[:16]}", base.spec
        )
        engines.append(
            EngineDeclaration(
                declared.url,
                base.digest,
                platform,
                declared.max_cpu_loras or settings.engine_max_cpu_loras,
                settings.engine_key(declared.url),
                base.fingerprint,
                _first_said(declared.prompt_logprobs, settings.engine_prompt_logprobs, platform == "gpu"),
                settings.engine_chat_template == "refuse",
                settings.engine_hung_after_s,
            )
        )
    urls = [engine.url for engine in engines]
    for url in urls:
        try:
            EngineClient(url)  # connects to nothing
        except ValueError as error:
            raise InvalidInput(f"engines: {error}", param="engines") from error
    if twice := sorted({url for url in urls if urls.count(url) > 1}):
        raise InvalidInput(f"engines has {', '.join(twice)} twice; name each engine once", param="engines")
    return Declared(tuple(engines), zero_adapters)


def _first_said(*said: bool | None) -> bool:
    return next(one for one in said if one is not None)


def declared_base(registry: Registry, name: str | None) -> BaseInfo:
    """The base that an engine is said to serve. Raises `InvalidInput` when it cannot be told."""
    if name is not None:
        return registry.bases.get(name)
    known = registry.bases.all()
    if len(known) == 1:
        return known[0]
    raise InvalidInput(
        f"{len(known)} base models are registered; say which one the engines serve with SWITCHYARD_ENGINE_BASE "
        "(register one with `switchyard base register NAME FOLDER`)",
        param="engine_base",
    )
