"""What an engine turns out to be when it is met: its vLLM, its base model, its chat template, what it cannot do."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from gateway.api.dialects import DIALECTS
from gateway.engines.declared import Handling
from gateway.engines.engine import Engine
from gateway.engines.fingerprint import MAX_DISAGREEMENT_NATS, base_agreement
from gateway.engines.health import EngineRefused
from gateway.engines.kind import Card, EngineControl
from gateway.engines.kinds import kind_of
from gateway.engines.renderings import rendering_difference
from gateway.handoffs import Ability, Counts, Endpoint

log = logging.getLogger("switchyard.fleet")
ENDPOINTS: frozenset[Endpoint] = frozenset(dialect.asks for dialect in DIALECTS.values())
"""In which engines are asked at all."""


class Profile:
    """Of one engine, as of its boot."""

    def __init__(self, declared: Engine, handling: Handling, control: EngineControl) -> None:
        self.version = "unknown"
        self.base_needs_zero_adapter = True
        """Whether its base is served through an all-zero adapter; known from its version."""
        self.lacks: frozenset[Ability] = frozenset()
        """What it cannot do."""
        self.missing: frozenset[Endpoint] = frozenset()
        """Endpoints of its kind that it does not have."""
        self.max_model_len: int | None = None
        """Its --max-model-len: tokens of prompt and answer together."""
        self.counts: Counts = "nothing"
        self.base_distance: float | None = None
        """How far the served base is from the registered one, in nats; `None` when there is nothing to compare with."""
        self.chat_template = "unverified: not contacted yet"
        """Whether it renders conversations as its base does: "same", or what is known instead, for people."""
        self._declared = declared
        self._kind = kind_of(declared)
        self._handling = handling
        self._control = control

    @property
    def generates(self) -> bool:
        """Whether it makes tokens. Where it does not, nothing tells whose weights they are but their names."""
        return self._control.generates

    @property
    def renders_chats(self) -> bool:
        """Whether it was seen to make prompts of conversations, were it with another template than its base's."""
        return self.chat_template == "same" or self.chat_template.startswith("differs")

    @property
    def remark(self) -> str | None:
        """What people should know of an engine that serves."""
        found = []
        if self.chat_template.startswith("differs"):
            found.append(f"its chat template {self.chat_template}")
        if not self.generates:
            found.append("it generates nothing, so that its base and the effect of its adapters are taken on trust")
        return "; ".join(found) or None

    async def learn_version(self) -> None:
        """And which endpoints it has, before anything is loaded. Raises `EngineRefused` for a vLLM that must not
        serve.
        """
        self.version = await self._control.version()
        quirks = self._kind.quirks(self.version, self._declared.platform)
        self.base_needs_zero_adapter = quirks.base_needs_zero_adapter
        if quirks.refused:
            raise EngineRefused(quirks.refused)
        self.missing = ENDPOINTS.difference(self._kind.paths) | await self._control.missing_endpoints()

    async def learn_base(self, base_name: str, cards: Mapping[str, Card]) -> None:
        """The rest, from answers under the base's name. Raises `EngineRefused` for one that it must not serve."""
        await self._recognise_base(base_name)
        await self._compare_renderings(base_name)
        self.lacks = await self._find_what_it_lacks(base_name)
        self.counts = await self._find_what_it_counts(base_name)
        self.max_model_len = next((card.max_model_len for card in cards.values() if card.max_model_len), None)

    async def _recognise_base(self, base_name: str) -> None:
        """Adapters on another base than theirs answer garbage, and vLLM takes them: so ask whether it is the one."""
        if self._handling.fingerprint is None or not self.generates or not self._kind.takes_adapters:
            return
        # One question a text: a restarted engine should not be kept waiting. `switchyard doctor` asks all of them.
        questions = self._handling.fingerprint.questions(a_probe=1)
        self.base_distance = await base_agreement(self._control, base_name, questions)
        if self.base_distance > MAX_DISAGREEMENT_NATS:
            raise EngineRefused(
                f"it serves another base model than it is declared to: {self.base_distance:.2f} nats away, and up to "
                f"{MAX_DISAGREEMENT_NATS} is the same model; declare its base in SWITCHYARD_ENGINES, or start it with "
                "the right one"
            )

    async def _compare_renderings(self, base_name: str) -> None:
        """Adapters and the base were trained on prompts as the base's own chat template makes them."""
        if not self._kind.takes_adapters:
            self.chat_template = f"unverified: engines of kind {self._declared.kind} are believed"
            return
        fingerprint = self._handling.fingerprint
        if fingerprint is None or fingerprint.renderings is None:
            self.chat_template = (
                "unverified: the base was registered without renderings of its chat template; "
                "`switchyard base fingerprint NAME FOLDER` takes them, or `--engine URL`"
            )
            return
        if not fingerprint.renderings:
            self.chat_template = "unverified: the base has no chat template, or one that prints the date"
            return
        difference = await rendering_difference(self._control, base_name, fingerprint.renderings)
        self.chat_template = "same" if difference is None else f"differs: {difference}"
        if difference is None:
            return
        remedy = "start it with the base's own chat template"
        if self._handling.refuses_other_template:
            raise EngineRefused(
                f"its chat template is not the base's: {difference}; {remedy}, "
                "or set SWITCHYARD_ENGINE_CHAT_TEMPLATE=warn"
            )
        log.warning("engine %s has another chat template than its base: %s; %s", self._declared.url, difference, remedy)

    async def _find_what_it_lacks(self, base_name: str) -> frozenset[Ability]:
        lacks = await self._control.lacks(base_name)
        scores = self._declared.prompt_logprobs and self.generates
        return lacks if scores else lacks | {"prompt_logprobs"}

    async def _find_what_it_counts(self, base_name: str) -> Counts:
        if "chat" in self.missing:
            return "nothing"
        if not await self._control.counts_what_it_serves(base_name):
            log.info(
                "engine %s: its count of prompts is not that of what it serves; near a budget's end bytes count",
                self._declared.url,
            )
            return "nothing"
        return "its base" if self.chat_template == "same" else "itself"
