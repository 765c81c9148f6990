"""Where the fleet's engines are declared. A discovery of engines is one more source: a class here and a `Source`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from gateway.engines.address import EngineAddress
from gateway.engines.declared import Declared, Handling
from gateway.engines.engine import Engine
from gateway.engines.kinds import kind_of, require_kind
from gateway.engines.zero_adapter import write_zero_adapter
from gateway.settings import EngineSettings, GatewaySettings
from registry.bases.store import BaseInfo
from registry.errors import InvalidInput, RegistryError
from registry.service import Registry

log = logging.getLogger("switchyard.fleet")
_ENGINE = TypeAdapter(Engine)


class EngineSource(Protocol):
    """Asked again in every round of the controller; both calls may block."""

    def read(self) -> Sequence[Declared]:
        """Every engine that it declares now. Raises `SQLAlchemyError` or `OSError` while it cannot be asked: then the
        set stays as it was. What is wrong with one engine is no reason for that.
        """

    def let_go(self, url: str) -> None:
        """No request runs any more on an engine that it declares to be leaving."""


@dataclass(frozen=True, slots=True)
class FixedSource:
    """Engines that do not change while this process lives, such as those of its settings."""

    engines: Sequence[Declared]

    def read(self) -> Sequence[Declared]:
        """All of them."""
        return self.engines

    def let_go(self, url: str) -> None:
        """None leaves."""


class AdminSource:
    """Engines that operators have added, in the registry."""

    def __init__(self, registry: Registry, settings: GatewaySettings) -> None:
        self._registry = registry
        self._settings = settings
        self._known: dict[Engine, Declared] = {}
        """As they were met first: an engine whose base is registered anew is met as it was."""
        self._skipped: dict[str, str] = {}
        """URL → why this process cannot deal with the engine, as it was said last."""

    def read(self) -> Sequence[Declared]:
        """Those that this process can deal with."""
        found, skipped = [], dict[str, str]()
        for row in self._registry.added_engines.all():
            try:
                one = self._declared(_ENGINE.validate_python(row.declared))
            except (RegistryError, ValidationError) as error:
                skipped[row.url] = str(error)
            else:
                found.append(Declared(one.engine, one.handling, leaving=row.removed_at_ms is not None))
        for url, why in skipped.items():
            if self._skipped.get(url) != why:
                log.error("engine %s was added, and this gateway cannot serve from it: %s", url, why)
        self._skipped = skipped
        return found

    def let_go(self, url: str) -> None:
        """Its row goes."""
        self._registry.added_engines.forget(url)

    def _declared(self, engine: Engine) -> Declared:
        known = self._known.get(engine)
        if known is None:
            base = self._registry.measured(self._registry.bases.get(engine.base_digest))
            try:
                handling = handling_of(engine, base, self._settings)
            except OSError as error:  # of this engine's files: it does not say that the database is away
                raise InvalidInput(f"the zero adapter of its base cannot be written: {error.strerror}") from error
            known = self._known[engine] = Declared(engine, handling)
            if engine.key_variable is not None and known.handling.api_key is None:
                log.error("engine %s: its key should be in %s, and is not", engine.url, engine.key_variable)
        return known


def document_of(engine: Engine) -> dict[str, object]:
    """An engine as a source can keep it in the registry."""
    document: dict[str, object] = _ENGINE.dump_python(engine, mode="json")
    return document


def declared_fleet(registry: Registry, settings: GatewaySettings) -> tuple[Declared, ...]:
    """Read the declarations. Raises `InvalidInput` for a URL that is none or stands twice, or an unknown base."""
    found = tuple(_declared(registry, settings, one) for one in settings.declared_engines())
    urls = [one.engine.url for one in found]
    for url in urls:
        require_engine_url(url, param="engines")
    if twice := sorted({url for url in urls if urls.count(url) > 1}):
        raise InvalidInput(f"engines has {', '.join(twice)} twice; name each engine once", param="engines")
    ids = [one.engine.id for one in found if one.engine.id is not None]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise InvalidInput(f"engines has the id {', '.join(twice)} twice; an id is of one engine", param="engines")
    return found


def _declared(registry: Registry, settings: GatewaySettings, one: EngineSettings) -> Declared:
    base = declared_base(registry, one.base or settings.engine_base)
    platform = one.platform or settings.engine_platform
    engine = Engine(
        one.url,
        base.digest,
        platform,
        one.max_cpu_loras or settings.engine_max_cpu_loras,
        settings.survives_prompt_logprobs(one.prompt_logprobs, platform),
        kind=one.kind,
        id=one.id,
        pool=one.pool,
        max_num_seqs=one.max_num_seqs or settings.engine_max_num_seqs,
    )
    return Declared(engine, handling_of(engine, base, settings))


def handling_of(engine: Engine, base: BaseInfo, settings: GatewaySettings) -> Handling:
    """What the settings say of every engine, and the engine's own key; writes the all-zero adapter of its base.

    Raises `InvalidInput` for a kind that there is not.
    """
    require_kind(engine.kind)
    folder = settings.adapter_cache_dir / f"zero-{base.digest.removeprefix('sha256:')[:16]}"
    return Handling(
        write_zero_adapter(folder, base.spec) if kind_of(engine).takes_adapters else folder,
        settings.engine_key(engine),
        base.fingerprint,
        settings.engine_chat_template == "refuse",
        settings.engine_hung_after_s,
        settings.engine_breaches,
        settings.engine_breach_window_s,
        settings.engine_load_timeout_s,
    )


def require_engine_url(url: str, *, param: str) -> None:
    """Raises `InvalidInput` for a URL that no engine can have."""
    try:
        EngineAddress.parse(url)
    except ValueError as error:
        raise InvalidInput(f"{param}: {error}", param=param) from error


def declared_base(registry: Registry, name: str | None) -> BaseInfo:
    """The base that an engine is said to serve. Raises `InvalidInput` when it cannot be told."""
    if name is not None:
        return registry.measured(registry.bases.get(name))
    known = registry.bases.all()
    if len(known) == 1:
        return registry.measured(known[0])
    raise InvalidInput(
        f"{len(known)} base models are registered; say which one the engines serve with SWITCHYARD_ENGINE_BASE "
        "(register one with `switchyard base register NAME FOLDER`)",
        param="engine_base",
    )
