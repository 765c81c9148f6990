"""Takes the fingerprint of a base model from an engine, where nothing on this machine can compute the base."""

from __future__ import annotations

import asyncio

from gateway.engines.engine import Engine
from gateway.engines.fingerprint import fingerprint_of
from gateway.engines.isolation import BASE, Folders, speakers
from gateway.engines.kinds import kind_of
from gateway.fleet.sources import handling_of
from gateway.settings import EngineSettings, GatewaySettings
from registry.bases.fingerprint import Fingerprint
from registry.bases.store import BaseInfo
from registry.errors import InvalidInput


def measured_on(url: str, base: BaseInfo, settings: GatewaySettings) -> Fingerprint:
    """What the engine answers as its base, which is taken to be this one.

    Its platform and key are those that the settings declare of this URL, or of all engines. Raises `InvalidInput` for
    an engine that cannot be asked, `CannotTest` and each kind of `EngineFault`.
    """
    declared = next((one for one in settings.declared_engines() if one.url == url), EngineSettings(url=url))
    engine = Engine(
        url,
        base.digest,
        declared.platform or settings.engine_platform,
        declared.max_cpu_loras or settings.engine_max_cpu_loras,
        kind=declared.kind,
    )
    return asyncio.run(_ask(engine, base, settings))


async def _ask(engine: Engine, base: BaseInfo, settings: GatewaySettings) -> Fingerprint:
    kind = kind_of(engine)
    handling = handling_of(engine, base, settings)
    control = kind.control(engine.url, handling.api_key)
    try:
        quirks = kind.quirks(await control.version(), engine.platform)
        await control.missing_endpoints()
        if not kind.takes_adapters or not control.generates:
            raise InvalidInput(
                f"the engine at {engine.url} generates nothing by which a base is known; name one that does",
                param="engine",
            )
        folders = Folders((), handling.zero_adapter if quirks.base_needs_zero_adapter else None)
        async with speakers(control, folders, engine.places) as names:
            return await fingerprint_of(control, names[BASE], engine.url)
    finally:
        await control.close()
