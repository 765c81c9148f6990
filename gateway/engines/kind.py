"""What a kind of engine must be able to do. vLLM is the first; `gateway.engines.kinds` has all of them.

A kind's URLs, the names of its metrics and what its answers look like stand in its own folder, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from gateway.engines.connection import EngineClient
from gateway.engines.engine import Platform
from gateway.engines.look import Look
from gateway.engines.probes import PROBE_TIMEOUT_S, ProbeLog
from gateway.handoffs import Ability, Admitted, Endpoint
from registry.bases.renderings import Conversation

LOAD_TIMEOUT_S = 120.0
"""In which an engine must have loaded an adapter, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Card:
    """One line of the engine's `/v1/models`; `root` of an adapter is the folder it was read from."""

    id: str
    root: str
    parent: str | None
    max_model_len: int | None = None
    """Tokens of prompt and answer together; only bases say it."""


@dataclass(frozen=True, slots=True)
class Word:
    """A token that greedy decoding chose; `margin` is how much likelier it was than the next best, in nats."""

    text: str
    logprob: float
    margin: float


class Questions(NamedTuple):
    """What to ask for the count of all prompts of a request: the sum of the answers, and `known`."""

    known: int
    bodies: list[bytes]


class Quirks(Protocol):
    """What the fleet must do differently for one engine of a kind."""

    @property
    def refused(self) -> str | None:
        """Why this engine may not serve at all."""

    @property
    def base_needs_zero_adapter(self) -> bool:
        """Serve the base through an all-zero adapter."""


class EngineTokens(Protocol):
    """What an engine's tokenizer and chat template make of texts; it costs the engine no step."""

    async def rendered(self, model: str, conversation: Conversation) -> tuple[int, ...]:
        """The token ids that the engine's chat template makes of a conversation."""

    async def encoded(self, model: str, text: str) -> tuple[int, ...]:
        """The token ids of a text, without any that its tokenizer adds."""

    async def decoded(self, model: str, token_ids: Sequence[int]) -> str:
        """The text of token ids."""


class EngineControl(Protocol):
    """Everything but inference traffic with one engine. What fails is an `EngineFault` (`gateway.engines.faults`).

    Loads, log-probabilities, renderings and greedy answers are about adapters, and whose base it is: engines of a kind
    that takes no adapters are never asked for them.
    """

    probes: ProbeLog
    """What its questions have cost the engine."""

    generates: bool
    """Whether it makes tokens, by which the effect of an adapter is measured; true until `missing_endpoints` has found
    otherwise.
    """

    @property
    def tokens(self) -> EngineTokens:
        """What it makes of texts."""

    async def close(self) -> None:
        """Close the connections."""

    async def look(self) -> Look:
        """Health and the figures of this instant, soon. Raises `Silent` when nothing came in time."""

    async def version(self) -> str:
        """Such as `0.32.0`."""

    async def missing_endpoints(self) -> frozenset[Endpoint]:
        """Those of its kind's `paths` that it does not have."""

    async def models(self) -> dict[str, Card]:
        """Base and adapters by the names the engine knows them by."""

    async def load_adapter(self, name: str, folder: Path, timeout_s: float = LOAD_TIMEOUT_S) -> None:
        """Load a folder under a name that this boot has never seen."""

    async def unload_adapter(self, name: str) -> None:
        """Make the engine forget a name; unknown is as good as forgotten."""

    async def next_token_logprob(self, model: str, prefix: Sequence[int], token: int, salt: str) -> float:
        """Log-probability, in nats, that `token` follows `prefix`."""

    async def greedy(self, model: str, prompt: str, tokens: int, salt: str) -> tuple[Word, ...]:
        """What the model makes of a prompt when it always takes the likeliest token; exactly `tokens` of them."""

    async def answers_as(self, model: str, salt: str, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
        """Whether one short question is answered, and the answer is signed with that very name."""

    async def lacks(self, model: str) -> frozenset[Ability]:
        """What it cannot do because of how it was started, but for what no question may find out."""

    async def counts_what_it_serves(self, model: str) -> bool:
        """Whether its count of a conversation's tokens is what it makes of it when it answers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as an engine got it, for whom puts the engine's refusal in our words."""

    admitted: Admitted
    engine_name: str
    """What the engine calls its model."""
    context: int | None
    """Tokens of prompt and answer together that the engine takes."""

    @property
    def public_name(self) -> str:
        """What the client calls its model."""
        return self.admitted.arm.public_name


class EngineKind(Protocol):
    """One kind of engine; it has no state. Its bytes are those of answers that a dialect reads."""

    @property
    def paths(self) -> Mapping[Endpoint, bytes]:
        """Where its engines answer each dialect; one that is not among them is served by none."""

    @property
    def takes_adapters(self) -> bool:
        """Whether adapters can be loaded on its engines. Those of a kind that takes none serve their base alone, under
        the name that they list, and are believed to have the base that they are declared to have.
        """

    def control(self, url: str, api_key: str | None) -> EngineControl:
        """Everything else that one asks of one of its engines."""

    def quirks(self, version: str, platform: Platform) -> Quirks:
        """What is to be done differently for engines of this version."""

    def names_model(self, name: str) -> bytes:
        """The bytes by which an answer names its model; nothing else in an answer is written so."""

    def document(self, data: bytes) -> bytes:
        """A whole answer without what is the engine's own affair. Raises `EngineBroke` when it cannot be read."""

    def events(self, block: bytes) -> bytes:
        """The same of whole events of a stream."""

    def refusal(self, status: int, body: bytes, asked: Asked) -> Exception:
        """What an answer means that is no 200: `AdapterMissing`, `EngineUnreachable`, or an `ApiError` for clients."""

    def failure(self, event: bytes, asked: Asked, *, begun: bool) -> Exception:
        """What an event means in which the engine says that it failed: `EngineBroke`, or an `ApiError`; also anything
        that `refusal` gives, while nothing of the answer has `begun` to go out.
        """

    def questions(self, body: Mapping[str, Any], understood: Set[str]) -> Questions | None:
        """How to have the prompts of a checked body counted; `None` when something in it, such as what is not among the
        `understood` fields, may change the prompt in a way that the count does not know.
        """

    async def count(self, client: EngineClient, body: bytes, timeout_s: float) -> int | None:
        """The answer to one of them; `None` when it was refused. Raises `EngineUnreachable`, `EngineBroke`."""
