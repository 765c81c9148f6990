"""What the steps of the request path hand each other: small, frozen, in the order in which they appear.

Call → Principal → InferenceRequest → Target → Unit → Arm → Bill → Admitted → EngineCount → Usage

They are tuples with names: every request makes one of each, and a frozen dataclass takes six times as long to make.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Any, Literal, NamedTuple, Protocol, Self

from gateway.billing import Bill
from gateway.billing import Usage as Usage
from gateway.breaches import EngineBroke as EngineBroke
from gateway.breaches import EngineLied as EngineLied
from gateway.bytes_in_flight import NOT_COUNTED, HeldBytes
from gateway.engine_count import EngineCount as EngineCount
from gateway.errors import ApiError, Headers
from gateway.keeping import Answered, Item, Keeping, Status
from gateway.principal import Principal as Principal
from gateway.tap import Tap
from registry.catalog.snapshot import BaseEntry, ShadowEntry, SplitEntry, VersionEntry
from registry.outcomes.forms import AnswerChecks
from telemetry.spans import Span


class Target(NamedTuple):
    """What a model name stands for: a base model, or a version with the split (if any) of the alias that led to it."""

    requested: str
    mapped_to: str | None
    """What the tenant's own mapping made of `requested`, when it has one."""
    base: BaseEntry | None
    version: VersionEntry | None
    alias: str | None
    split: SplitEntry | None
    shadow: ShadowEntry | None = None
    """To whom some of the alias's requests are copied."""
    checks: AnswerChecks | None = None
    """What is looked for in the adapter's answers."""
    draw: Draw | None = None
    """How its split chooses, made once for a catalog; `None` when it has none."""
    unassigned: Arm | None = None
    """What answers where no split chooses: there is none, or an experiment that not all are in."""


Within = tuple[int, frozenset[str], Sequence[tuple[str, frozenset[str]]], bytes, int]
"""Who is in the experiment of a split: buckets of its audience; ids of keys, empty for all; values that metadata must
have; what is hashed before a unit that may be held out, and in how many buckets one is.
"""
Draw = tuple[bytes, Sequence[tuple[int, "Arm"]], Within | None]
"""How a split chooses: what is hashed before a unit; its arms, each behind the bucket at which its own end; and who is
in it, `None`: all. Plain tuples, which are taken apart in one go.
"""


UnitSource = Literal["header", "stored", "conversation_id", "first_turn", "prompt", "end_user", "request", "window"]


class Unit(NamedTuple):
    """What stays together on one arm of a split, and where its identity came from."""

    value: str
    source: UnitSource


class Assignment(NamedTuple):
    """Of which split an arm is, for the usage record."""

    split_id: int
    arm: str
    """The version's number, or `base`."""
    propensity: float
    """The share of units, 0 to 1, that the arm has."""


class _ArmFields(NamedTuple):
    public_name: str
    base_digest: str
    version: VersionEntry | None
    assignment: Assignment | None
    """How a split chose it; `None` when the alias is not split."""
    through: VersionEntry | None
    """Of a base that a split chose: what the alias points at, as whose adapter's it is limited, priced and booked."""
    headers: Headers
    """What its answers say of it."""


class Arm(_ArmFields):
    """The one thing that will answer: a version or a base model, under its public name. Requests get it as it was made
    once for a catalog, with what answers say of it.
    """

    __slots__ = ()

    def __new__(
        cls,
        public_name: str,
        base_digest: str,
        version: VersionEntry | None = None,
        assignment: Assignment | None = None,
        through: VersionEntry | None = None,
    ) -> Self:
        """It says its name, and whose share of a split it has."""
        headers: Headers = ((b"x-switchyard-model", public_name.encode()),)
        if assignment is not None:
            headers += ((b"x-switchyard-arm", assignment.arm.encode()),)
        return super().__new__(cls, public_name, base_digest, version, assignment, through, headers)

    @property
    def model(self) -> str:
        """`tenant/adapter`, whatever the version; or the base's name."""
        version = self.version or self.through
        return self.public_name if version is None else f"{version.tenant}/{version.adapter}"


Ability = Literal["tool_calls", "reasoning", "prompt_logprobs"]
"""What a request may need and not every engine has."""


Endpoint = str
"""The name of a dialect, as metrics, the ledger, the request log and the fleet's messages have it."""

Counts = Literal["nothing", "itself", "its base"]
"""For whom an engine's `/tokenize` says how long prompts are: for nobody, for itself, or for all engines of its base
that do the same, because they render as the base does.
"""


class AnswerReader(Protocol):
    """Makes the client's answer of an engine's good one, in which the model has its public name by now, and takes the
    engine's count of tokens in. What it cannot understand is an `EngineBroke`.
    """

    @property
    def complete(self) -> bool:
        """Whether the end of a stream came."""

    def document(self, data: bytes) -> bytes:
        """A whole answer in one piece."""

    def events(self, block: bytes) -> tuple[bytes, bytes | None]:
        """Whole events of a stream, up to one in which the engine says that it failed; and that one, if there is."""

    def rest(self) -> bytes:
        """What is left to say when all of a stream came: of an assembled answer all of it, else nothing."""

    def failed(self, error: ApiError) -> bytes:
        """The end of a stream that the client has begun to read, and that fails."""


class Dialect(Protocol):
    """One way in which clients ask, as the steps know it; `gateway.api.dialects` has all of them."""

    @property
    def name(self) -> Endpoint:
        """Its one name."""

    @property
    def asks(self) -> Endpoint:
        """The dialect in which engines are asked: its own, or the one that it is translated to."""

    @property
    def engine_fields(self) -> Set[str]:
        """The fields that the body of a request may have when it goes to the engine."""

    @property
    def wishes(self) -> Mapping[Ability, str]:
        """Fields of that body which an engine that lacks the ability is asked without, where others are refused."""

    @property
    def uses_tokens(self) -> bool:
        """Whether its requests use tokens; the others are booked at none."""

    @property
    def request_id_header(self) -> bytes | None:
        """Where its clients look for the request's id, beside `x-request-id`."""

    @property
    def bulky(self) -> bool:
        """Whether its answers are numbers between their ends, and so long that only the ends are looked at."""

    @property
    def default_output_tokens(self) -> int | None:
        """What bounds an answer whose request names no bound; `None`: nothing."""

    def parse(self, raw: bytes, *, caps: Any, allow_unknown: bool, model: str | None = None) -> InferenceRequest:
        """The checked request of a body, within `gateway.api.fields.caps.Caps`; of this model, if the address has named
        one.
        """

    def added_tokens(self, body: Mapping[str, Any]) -> int:
        """The most tokens that the model reads of a checked body beyond those of its bytes, but for what templates and
        normalisation add.
        """

    def counted(self, request: InferenceRequest) -> InferenceRequest:
        """The same request, so asked that the engine counts while it answers, where that can be."""

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """The field of a checked body that the model reads."""

    def public_field(self, field: str) -> str:
        """What clients call a field of the body that goes to the engine."""

    def engine_body(self, body: Mapping[str, Any], model: str, cache_salt: str) -> dict[str, Any]:
        """What the engine is asked that calls the model so."""

    def reader(self, admitted: Admitted, count: EngineCount) -> AnswerReader:
        """Of one answer."""

    def continued(self, request: InferenceRequest, earlier: Sequence[Item]) -> InferenceRequest:
        """The same request, behind the items of earlier turns. Raises `BadRequest` for what cannot follow them. Only
        for a request with a `Keeping`.
        """

    def kept(self, items: Sequence[Item], request_id: str) -> Sequence[Item]:
        """The items of a request's own input as they are kept."""

    def without_output(self, admitted: Admitted, status: Status, error: ApiError | None) -> Answered:
        """An answer of which nothing was made: not yet, or because of an error. Only for a request with a `Keeping`."""

    def error_body(self, error: ApiError) -> bytes:
        """An answer that is an error."""

    def error_event(self, error: ApiError) -> bytes:
        """The error as the last event of a stream in which no engine's answer has begun, and its end."""


def _nothing() -> None:
    """Nobody could leave."""


def _told_nobody(_tenant: str) -> None:
    """Nobody wants to know."""


class Call(NamedTuple):
    """One request as it came in, before anything was believed."""

    dialect: Dialect
    key: str | None
    """The secret that the client has sent, in whichever header."""
    unit_header: str | None
    body: Callable[[HeldBytes], Awaitable[bytes]]
    """Reads the body, which is counted as it comes; called once, and only for a known key that may begin now."""
    request_id: str
    engine_request_id: str
    """`request_id`, with the client's own name of the request behind it: the engine's log has both."""
    trace: bytes = b""
    """Header lines that tell the engine of the client's trace, if it has one."""
    model: str | None = None
    """What its address calls the model, if it does."""
    let_go: Callable[[], None] = _nothing
    """The client's leaving does not end the request any more."""
    known: Callable[[str], None] = _told_nobody
    """Is told the tenant, when its key is valid."""
    span: Span | None = None
    """Of the request, or of the attempt that is under way; `None` when its trace is not told."""


ShownUsage = Literal["never", "at the end", "always"]
"""What a streaming client asked to see of the engine's count."""


Opening = Sequence[tuple[str, bytes]] | str
"""What a conversation is known by: a role and a digest of all until then for each message, or a digest of a prompt."""


class InferenceRequest(NamedTuple):
    """A checked request.

    `body` is what goes to the engine, without `model`, which `forward` sets (a `SealedBody` when it is long and waits
    for an engine); of a stream it always asks for usage in every event, and `shows_usage` says how much of it the
    client asked for, `shows_cost` whether for the cost too.
    `max_output_tokens` bounds each of the `choices` answers (n × prompts); None means as much as the context holds.
    `bounded_by_us` says that the client named no bound and `hold` chose one.
    `needs` is what the engine must be able to do that not every one can.
    `conversation_id`, `user` and `metadata` are what the client says about whose request it is, for splits.
    `body_bytes` is how long the body was that the client sent.
    `assembled` says that the client gets in one piece what the engine is asked for as a stream.
    `echo` is what its answer repeats of it, in the form that its dialect writes.
    `keeping` is of dialects that have state; `None` keeps nothing and goes on from nothing.
    `batch` says that nobody waits for its answer: others' requests may go first.
    `opening` is known of a large body, which nobody has to parse again for it.
    """

    dialect: Dialect
    model: str
    stream: bool
    shows_usage: ShownUsage
    max_output_tokens: int | None
    body: Mapping[str, Any]
    conversation_id: str | None = None
    user: str | None = None
    choices: int = 1
    needs: frozenset[Ability] = frozenset()
    shows_cost: bool = False
    bounded_by_us: bool = False
    body_bytes: int = 0
    assembled: bool = False
    echo: bytes = b""
    keeping: Keeping | None = None
    metadata: Mapping[str, str | None] | None = None
    batch: bool = False
    opening: Opening | None = None


class Admitted(NamedTuple):
    """A request in progress: all that is known of it when engines are tried."""

    call: Call
    principal: Principal
    request: InferenceRequest
    target: Target
    arm: Arm
    bill: Bill
    unit: Unit | None = None
    """By which a split chose the arm; `None` when the alias is not split."""
    unit_hash: str | None = None
    """`gateway.splits.assignment.hash_of` of that, in hexadecimal digits; `None` when no split chose the arm."""
    tap: Tap | None = None
    """What keeps the answer, if it is to be looked at; copies of requests have their own sinks for that."""
    shadow: bool = False
    """Whether this is a copy of a request, whose answer nobody gets: it is booked as such, nobody is charged, and
    nothing of it is kept.
    """
    held: HeldBytes = NOT_COUNTED
    """Of the request, and of its answer if that comes in one piece."""


CLIENT_GONE = "the client is gone"
"""Why the task of a request was cancelled, as its `CancelledError` says; else its key is over, or the gateway stops."""
KEY_OVER = "the key is over"
"""Likewise: revoked, or at its end."""
CLIENT_GONE_STATUS = 499
"""nginx's, for what got no answer because nobody was there to read it."""


class Booked(Protocol):
    """An attempt in the books; after its end it says what came of it."""

    engine_url: str
    began_s: float
    """`time.perf_counter()` when it began."""
    outcome: str
    """How it has ended, "" before."""
    nano: int | None
    """What it has cost, in nano-dollars; `None` when no price is known."""
    usage: Usage


class Sink(Protocol):
    """Where an attempt's answer goes: to the client, or for a copy of a request nowhere."""

    def begin(self, attempt: Booked) -> None:
        """An attempt begins, and is in the books from now on."""

    def read_by(self, reader: AnswerReader) -> None:
        """An engine's good answer begins, which this one reads."""

    async def feed(self, chunk: bytes) -> None:
        """Some bytes of a good answer."""

    def feed_now(self, chunk: bytes) -> bool:
        """The same for what follows the first of a stream, if nobody has to be waited for; whether it was taken."""
