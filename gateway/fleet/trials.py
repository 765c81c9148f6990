"""Does an engine refuse what it should answer? Clients' refused requests raise the question, and we ask it ourselves.

An engine is refused when it twice refuses a request of ours, of a kind that its base can answer: as long as one tenant
alone says that an engine errs, it is our own question that decides. Where the engine answers us and still refuses what
others serve, the word of several tenants counts, and only while it serves nobody at all. So nobody's bad bodies put a
good engine out of service. The last engine of a base cannot be contradicted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.api.dialects import DIALECTS
from gateway.engines.connection import EngineClient
from gateway.engines.faults import EngineFault, ProbeRefused
from gateway.engines.health import EngineRefused
from gateway.engines.kinds import kind_of
from gateway.engines.managed import ManagedEngine
from gateway.engines.self_test import ask_as_clients_do
from gateway.fleet.wire import Disputed
from gateway.handoffs import Endpoint

log = logging.getLogger("switchyard.fleet")
ENDPOINTS = tuple(name for name, dialect in DIALECTS.items() if dialect.question is not None)
"""What engines are asked on."""
TRIAL_EVERY_S = 5.0
"""Of one engine and endpoint; whoever sends bad bodies makes it answer a few tokens of ours so often, and keeps nobody
from having it tried on the other endpoint.
"""
EVIDENCE_KEPT_S = 60.0
CONTRADICTIONS, TENANTS = 5, 3
"""Requests that an engine refused and others served, and the tenants that they are of: so many are a pattern."""


@dataclass(slots=True)
class Evidence:
    """Against one engine, on one boot of it, since a trial last found that it had served somebody."""

    since_s: float
    boot: float | None
    made: int | None = None
    """Tokens that the engine had worked on for clients then; `None`: no trial has looked since the first refusal."""
    contradictions: int = 0
    tenants: set[str] = field(default_factory=set)

    @property
    def is_a_pattern(self) -> bool:
        """Whether it is no single tenant's doing."""
        return self.contradictions >= CONTRADICTIONS and len(self.tenants) >= TENANTS


class Trials:
    """Of one controller's term. `refuse` takes an engine out of service, with the reason."""

    def __init__(self, refuse: Callable[[ManagedEngine, str], None]) -> None:
        self._refuse = refuse
        self._answerable: set[tuple[str, Endpoint]] = set()
        """Base's digest, and what some engine has answered of it: not every base has a chat template."""
        self._evidence: dict[str, Evidence] = {}
        self._tried_s: dict[tuple[str, Endpoint], float] = {}
        self._running: set[str] = set()
        """URLs of engines that are being tried."""

    async def examine(self, engine: ManagedEngine) -> None:
        """Ask an engine that takes no traffic yet, on each endpoint that it has. Raises `EngineFault`, and
        `EngineRefused` if it refuses.
        """
        for endpoint in ENDPOINTS:
            await self._require(engine, endpoint)

    def is_due(self, engine: ManagedEngine, disputed: Disputed) -> bool:
        """Take down what a worker says; whether the engine should be tried now."""
        now = time.monotonic()
        evidence = self._evidence.get(engine.url)
        boot = engine.residency.boot
        if evidence is None or evidence.boot != boot or now - evidence.since_s > EVIDENCE_KEPT_S:
            evidence = self._evidence[engine.url] = Evidence(now, boot)
        if disputed.served_elsewhere:
            self._answerable.add((engine.declared.base_digest, disputed.endpoint))
            evidence.contradictions += 1
            evidence.tenants.add(disputed.tenant)
        question = (engine.url, disputed.endpoint)
        late_enough = now - self._tried_s.get(question, -TRIAL_EVERY_S) >= TRIAL_EVERY_S
        if not engine.health.serves or not late_enough or engine.url in self._running:
            return False
        self._tried_s[question] = now
        return True

    async def try_now(self, engine: ManagedEngine, endpoint: Endpoint) -> None:
        """Ask the engine what clients ask, and refuse it if it must not serve."""
        boot = engine.residency.boot
        self._running.add(engine.url)
        try:
            against = self._against(engine, await _made_for_clients(engine))
            await self._require(engine, endpoint)
        except EngineRefused as error:
            reason = str(error)
        except EngineFault as error:
            log.info("engine %s could not be tried: %s", engine.url, error)
            return
        else:
            reason = against
        finally:
            self._running.discard(engine.url)
        if reason and engine.residency.boot == boot and engine.health.serves:
            self._evidence.pop(engine.url, None)
            self._refuse(engine, reason)

    def _against(self, engine: ManagedEngine, made: int) -> str:
        """Why an engine must not serve even if it answers our own questions; empty when it may.

        Only what was refused between two looks at its tokens tells whether it served nobody meanwhile, so a look that
        finds another number (a probe of ours may be counted late, too) begins the evidence anew.
        """
        evidence = self._evidence.get(engine.url)
        if evidence is None or evidence.boot != engine.residency.boot:
            return ""
        if evidence.made != made:
            self._evidence[engine.url] = Evidence(time.monotonic(), evidence.boot, made)
            return ""
        if not evidence.is_a_pattern:
            return ""
        return (
            f"it refused {evidence.contradictions} requests of {len(evidence.tenants)} tenants that other engines "
            "served, and served none"
        )

    async def _require(self, engine: ManagedEngine, endpoint: Endpoint) -> None:
        if endpoint not in ENDPOINTS or endpoint in engine.profile.missing:  # no question of ours would tell
            return
        if engine.residency.base_name is None:
            raise EngineFault("the engine cannot serve its base model now")
        client, kind = EngineClient(engine.url, engine.handling.api_key), kind_of(engine.declared)
        try:
            try:
                await ask_as_clients_do(kind, client, engine.control.probes, engine.residency.base_name, endpoint)
            except ProbeRefused:  # it may have been one of the moment
                await ask_as_clients_do(kind, client, engine.control.probes, engine.residency.base_name, endpoint)
        except ProbeRefused as error:
            if self._must_answer(engine, endpoint):
                raise EngineRefused(str(error)) from error
            log.info("engine %s: %s", engine.url, error)
        else:
            self._answerable.add((engine.declared.base_digest, endpoint))
        finally:
            client.close()

    def _must_answer(self, engine: ManagedEngine, endpoint: Endpoint) -> bool:
        talks = "messages" in (DIALECTS[endpoint].question or ())
        return not talks or engine.profile.renders_chats or (engine.declared.base_digest, endpoint) in self._answerable


async def _made_for_clients(engine: ManagedEngine) -> int:
    """Tokens that the engine has made since its boot, or has read if it makes none, less those of our probes.

    Raises `EngineFault`, also when it has restarted and not been met since: of what it is asked then it knows nothing.
    """
    look = await engine.control.look()
    if look.boot != engine.residency.boot:
        raise EngineFault("it has restarted")
    probes = engine.control.probes
    if engine.profile.generates:
        return look.generation_tokens - probes.completion_tokens
    return look.prompt_tokens - probes.prompt_tokens
