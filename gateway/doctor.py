"""What `switchyard doctor` finds: what is there, what is wrong with it, and whether engines keep tenants apart."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from gateway import checks
from gateway.admin_client import admin_client
from gateway.checks import Check
from gateway.engines.declared import Declared
from gateway.engines.faults import EngineFault
from gateway.engines.fingerprint import MAX_DISAGREEMENT_NATS, base_agreement
from gateway.engines.isolation import BASE, CannotTest, Folders, Isolation, examine, speakers, write_test_adapters
from gateway.engines.kind import EngineControl
from gateway.engines.kinds import kind_of
from gateway.engines.renderings import rendering_difference
from gateway.fleet.sources import declared_fleet
from gateway.serving.running import RunningUp, gateway_of, running_up
from gateway.settings import EngineSettings, GatewaySettings, engine_key_in
from registry.bases.store import BaseInfo
from registry.errors import RegistryError
from registry.service import Registry


def examine_installation(*, isolation: bool) -> list[Check]:
    """Wheels, processor, memory, ports, base model and running engines.

    `isolation`: also whether each engine keeps adapters and base apart, from some seconds to two minutes each.
    """
    configured = GatewaySettings()
    settings, up = _as_served(configured), running_up(configured.state_dir)
    if up is not None and settings is configured:  # its gateway does not answer yet, or not now
        settings = configured.model_copy(update={"engines": [up.engine_url]})
    declared = settings.declared_engines()
    # Engines that the settings or a gateway without an `up` name were started by somebody else, and perhaps elsewhere.
    own = up is None and (settings is not configured or "engines" in configured.model_fields_set)
    engines = [
        checks.check_engine(
            one.url, one.platform or settings.engine_platform, _remedy_for_silence(one.url, up, settings, own=own)
        )
        for one in declared
    ]
    answering = [one for one, check in zip(declared, engines, strict=True) if check.ok]
    flags = asyncio.run(
        checks.check_flags([(one.url, one.base, one.api_key or settings.engine_api_key) for one in answering])
    )
    gateway = checks.check_gateway_or_port(_gateway_url(settings), settings.host, settings.port)
    found = [checks.check_python(), *_for_engines(settings, up, own=own), *engines, *flags, gateway]
    found += _retirements(settings)
    if up is None and not own and not any(check.ok for check in engines):
        found.append(checks.check_memory())
    if isolation and not any(check.ok for check in engines):
        found.append(Check("isolation", False, "not tested: no engine answers", "see the engines above"))
    elif isolation:
        found += check_isolation({one.url for one in answering}, settings)
    return found


def _remedy_for_silence(url: str, up: RunningUp | None, settings: GatewaySettings, *, own: bool) -> str:
    if up is not None and url == up.engine_url:
        log = settings.state_dir / "logs" / "engine.log"
        return f"wait: `switchyard up` (pid {up.pid}) starts it, again if it has ended; what it does stands in {log}"
    if own or up is not None:
        return "start it again (docs/own-engines.md has the commands), or take it out of SWITCHYARD_ENGINES"
    return "start one with `switchyard up`, or set SWITCHYARD_ENGINES"


def _for_engines(settings: GatewaySettings, up: RunningUp | None, *, own: bool) -> list[Check]:
    """What must be there for engines: of one's own a registered base, for that of `up` also what it runs on."""
    base = _check_base(settings, sample_will_do=not own and up is None)
    return [base] if own else [checks.check_engine_wheel(), checks.check_torch(), checks.check_cpu(), base]


def _check_base(settings: GatewaySettings, *, sample_will_do: bool) -> Check:
    try:
        names = _registered_bases(settings)
    except RegistryError as error:
        return Check("base model", False, error.message, "the registry must be readable: see state_dir, database_url")
    if sample_will_do and not names:
        return checks.check_base(settings.state_dir / "base" / "smollm2-135m-instruct")
    return checks.check_registered_bases(names)


def _registered_bases(settings: GatewaySettings) -> list[str]:
    """Their names; a registry that is not there is not made. Raises `RegistryError`."""
    if settings.database_url is None and not (settings.state_dir / "registry.db").exists():
        return []
    with Registry.open(settings) as registry:
        return [base.name for base in registry.bases.all()]


def _retirements(settings: GatewaySettings) -> list[Check]:
    """What vendors switch off soon of what tenants' names mean there; nothing where there is no registry to ask."""
    days = settings.retirement_notice_days
    if settings.database_url is None and not (settings.state_dir / "registry.db").exists():
        return []
    try:
        with Registry.open(settings) as registry:
            found = [one for one in registry.radar.within(days) if one.kind == "name" and one.days_left >= 0]
    except RegistryError:
        return []  # the check of the base model says what is wrong with it
    return [checks.check_retirements([f"{one.tenant}'s {one.name}" for one in found], days)]


def _gateway_url(settings: GatewaySettings) -> str:
    running = gateway_of(settings)
    return settings.url if running is None else running.url


def _as_served(settings: GatewaySettings) -> GatewaySettings:
    """With the engines of the gateway that runs here, which knows what they are; else as the settings declare them."""
    try:
        with admin_client(None) as gateway:
            engines = [_declaration(engine, settings) for engine in gateway.get("/engines")["engines"]]
    except RegistryError:
        return settings
    return settings.model_copy(update={"engines": engines})


def _declaration(engine: Mapping[str, Any], settings: GatewaySettings) -> EngineSettings:
    """An engine of the gateway's, with its own key as this process finds it."""
    variable = engine["key_variable"]
    own = next((one.api_key for one in settings.declared_engines() if one.url == engine["url"]), None)
    return EngineSettings(
        url=engine["url"],
        kind=engine["kind"],
        base=engine["base"],
        platform=engine["platform"],
        max_cpu_loras=engine["places"],
        api_key=own if variable is None else engine_key_in(variable),
    )


def check_isolation(urls: Collection[str], settings: GatewaySettings) -> list[Check]:
    """Ask these engines whether they serve the declared base, and whether they mix anybody up."""
    found: list[Check] = []
    try:
        with Registry.open(settings) as registry:
            declared = declared_fleet(registry, settings)
            bases = {base.digest: base for base in registry.bases.all()}
    except RegistryError as error:
        return [_untested("of every engine", error)]
    for one in declared:
        if one.engine.url in urls:
            try:
                found += asyncio.run(_ask(one, bases[one.engine.base_digest], settings.max_lora_rank))
            except (EngineFault, CannotTest, OSError) as error:
                found.append(_untested(one.engine.url, error))
    return found


def _untested(what: str, error: Exception) -> Check:
    return Check(f"isolation {what}", False, "could not be tested", str(error))


async def _ask(one: Declared, base: BaseInfo, max_rank: int) -> list[Check]:
    engine, zero = one.engine, one.handling.zero_adapter
    kind = kind_of(engine)
    if not kind.takes_adapters:
        return [Check(f"isolation {engine.url}", True, f"not tested: engines of kind {engine.kind} take no adapters")]
    control = kind.control(engine.url, one.handling.api_key)
    try:
        quirks = kind.quirks(await control.version(), engine.platform)
        await control.missing_endpoints()
        if not control.generates:
            found = "not tested: it generates nothing by which adapters could be told apart"
            return [Check(f"isolation {engine.url}", True, found)]
        folders = Folders(
            adapters=write_test_adapters(zero.parent, base.spec, max_rank),  # where its host can see adapters
            zero=zero if quirks.base_needs_zero_adapter else None,
        )
        async with speakers(control, folders, engine.places) as names:
            return [
                await _base(control, engine.url, base, names[BASE]),
                await _template(control, engine.url, base, names[BASE]),
                _isolation(engine.url, await examine(control, names)),
            ]
    finally:
        await control.close()


async def _template(control: EngineControl, url: str, base: BaseInfo, name: str) -> Check:
    """Does it render conversations as the base that the registry knows?"""
    title = f"chat template of {url}"
    renderings = base.fingerprint.renderings if base.fingerprint is not None else None
    if not renderings:
        found = f"unverified: {base.name} was registered without renderings"
        return Check(title, True, f"{found}; `switchyard base fingerprint {base.name} FOLDER` takes them")
    difference = await rendering_difference(control, name, renderings)
    found = difference or f"renders {len(renderings)} conversations as {base.name} does"
    return Check(title, difference is None, found, "start the engine with the base's own chat template")


async def _base(control: EngineControl, url: str, base: BaseInfo, name: str) -> Check:
    """Is it the base that the registry knows?"""
    title = f"base of {url}"
    if base.fingerprint is None:
        found = f"{base.name} is unverified: it was registered without a fingerprint"
        return Check(title, True, f"{found}; `switchyard base fingerprint {base.name} FOLDER` takes one")
    distance = await base_agreement(control, name, base.fingerprint.questions())
    found = f"{distance:.3f} nats from {base.name}; up to {MAX_DISAGREEMENT_NATS} is the same model"
    remedy = f"the engine serves another model than {base.name}; start it with that one, or declare its base"
    return Check(title, distance <= MAX_DISAGREEMENT_NATS, found, remedy)


def _isolation(url: str, result: Isolation) -> Check:
    title = f"isolation {url}"
    if not result.cross_talk:
        return Check(
            title, True, f"{result.asked} answers of two adapters and the base in mixed batches, none mixed up"
        )
    first = result.cross_talk[0]
    found = (
        f"{len(result.cross_talk)} of {result.asked} answers in mixed batches were not the speaker's own; "
        f"{first.speaker} to {first.prompt!r}: expected {first.expected!r}, got {first.got!r}"
    )
    return Check(title, False, found, "take it out of SWITCHYARD_ENGINES: it serves one tenant with another's weights")
