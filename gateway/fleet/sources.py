"""Where the fleet's engines come from: the settings, with each engine's base looked up in the registry."""

from __future__ import annotations

from gateway.engines.connection import EngineClient
from gateway.engines.declared import Declared, Handling
from gateway.engines.engine import Engine
from gateway.engines.vllm.zero_adapter import write_zero_adapter
from gateway.settings import EngineSettings, GatewaySettings
from registry.bases.store import BaseInfo
from registry.errors import InvalidInput
from registry.service import Registry


def declared_fleet(registry: Registry, settings: GatewaySettings) -> tuple[Declared, ...]:
    """Read the declarations. Raises `InvalidInput` for a URL that is none or stands twice, or an unknown base."""
    found = tuple(_declared(registry, settings, one) for one in settings.declared_engines())
    urls = [one.engine.url for one in found]
    for url in urls:
        require_engine_url(url, param="engines")
    if twice := sorted({url for url in urls if urls.count(url) > 1}):
        raise InvalidInput(f"engines has {', '.join(twice)} twice; name each engine once", param="engines")
    return found


def _declared(registry: Registry, settings: GatewaySettings, one: EngineSettings) -> Declared:
    base = declared_base(registry, one.base or settings.engine_base)
    platform = one.platform or settings.engine_platform
    engine = Engine(
        one.url,
        base.digest,
        platform,
        one.max_cpu_loras or settings.engine_max_cpu_loras,
        _first_said(one.prompt_logprobs, settings.engine_prompt_logprobs, platform == "gpu"),
    )
    return Declared(engine, handling_of(engine, base, settings))


def handling_of(engine: Engine, base: BaseInfo, settings: GatewaySettings) -> Handling:
    """What the settings say of every engine, and the engine's own key; writes the all-zero adapter of its base."""
    folder = settings.adapter_cache_dir / f"zero-{base.digest.removeprefix('sha256:')[:16]}"
    return Handling(
        write_zero_adapter(folder, base.spec),
        settings.engine_key(engine),
        base.fingerprint,
        settings.engine_chat_template == "refuse",
        settings.engine_hung_after_s,
    )


def require_engine_url(url: str, *, param: str) -> None:
    """Raises `InvalidInput` for a URL that no engine can have."""
    try:
        EngineClient(url)  # connects to nothing
    except ValueError as error:
        raise InvalidInput(f"{param}: {error}", param=param) from error


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
