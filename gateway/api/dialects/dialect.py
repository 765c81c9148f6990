"""What every dialect says of itself. Most of it is OpenAI's; a dialect of another vendor says it in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import Any

from gateway.api.fields.caps import Caps
from gateway.api.fields.checks import Check
from gateway.api.fields.together import Rule
from gateway.api.request import parse_request
from gateway.errors import ApiError
from gateway.handoffs import Ability, Admitted, AnswerReader, Endpoint, EngineCount, InferenceRequest
from gateway.keeping import Answered, Item, Status


class Dialect(ABC):
    """One way in which clients ask. Its state never changes."""

    name: str
    """As metrics, the ledger, the request log and the fleet's messages have it."""
    path: str
    """Where it is served; it is also found without its `/v1`, and with more slashes."""
    summary: str
    """For people, in the API's description."""
    forwarded: Mapping[str, Check]
    """Fields that are checked, then sent to the engine."""
    not_forwarded: Mapping[str, Check] = {}
    """Fields that are checked, then read by the gateway or dropped."""
    refused: Mapping[str, str] = {}
    """Fields of the vendor's that cannot be done, or that are called otherwise here: each with its remedy. Some are
    refused in all dialects (`gateway.api.fields.table`).
    """
    required: Sequence[str]
    """Fields of which a body has one at least."""
    rules: Sequence[tuple[str, Rule]] = ()
    """What holds between fields, by the field that must be given for it to be asked."""
    wishes: Mapping[Ability, str] = {}
    """Fields of an engine's body that say no more than what is wished for: an engine that lacks the ability is asked
    without, and the request needs no other one.
    """
    uses_tokens = True
    """Whether its requests use tokens; the others are booked at none, and only requests are counted of them."""
    default_output_tokens: int | None = None
    """What bounds an answer whose request names no bound; `None`: nothing."""
    request_id_header: bytes | None = None
    """Where its clients look for the request's id, beside `x-request-id`."""
    question: Mapping[str, Any] | None = None
    """A body without a model that no engine has a reason to refuse, to find out whether one answers; `None` where that
    says nothing that another dialect's does not.
    """

    answers_in = "choices"
    """The field of an engine's answer that has what was asked for."""
    bulky = False
    """Whether its answers are numbers between their ends, and so long that only the ends are looked at."""

    @cached_property
    def asks(self) -> Endpoint:
        """The dialect in which engines are asked; another one where this one is translated."""
        return self.name

    @property
    def engine_fields(self) -> Set[str]:
        """The fields that the body of a request may have when it goes to the engine."""
        return self.forwarded.keys()

    def parse(self, raw: bytes, *, caps: Caps, allow_unknown: bool, model: str | None = None) -> InferenceRequest:
        """The checked request of a body. Raises what `parse_request` raises."""
        return parse_request(self, raw, caps=caps, allow_unknown=allow_unknown, model=model)

    @abstractmethod
    def request(
        self, model: str, given: Mapping[str, Any], body: dict[str, Any], body_bytes: int, caps: Caps
    ) -> InferenceRequest:
        """The checked request. `given` is the client's body, of which every field has passed its check and all rules
        hold; `body` is what of it is forwarded, to be changed into what goes to the engine. Raises `BadRequest` for
        what comes to light only then.
        """

    def counted(self, request: InferenceRequest) -> InferenceRequest:
        """The same request, so asked that the engine counts while it answers, for who pays for what is left half way;
        as it is where that cannot be, or nothing is used.
        """
        return request

    @abstractmethod
    def reader(self, admitted: Admitted, count: EngineCount) -> AnswerReader:
        """What makes the client's answer of an engine's."""

    def continued(self, request: InferenceRequest, earlier: Sequence[Item]) -> InferenceRequest:
        """The same request, behind the items of earlier turns; of dialects that have such."""
        raise NotImplementedError

    def kept(self, items: Sequence[Item], request_id: str) -> Sequence[Item]:
        """The items of a request's own input as they are kept and listed, each with an `id`; of dialects that keep
        them.
        """
        raise NotImplementedError

    def without_output(self, admitted: Admitted, status: Status, error: ApiError | None) -> Answered:
        """An answer of which nothing was made, as it is kept; of dialects that keep answers."""
        raise NotImplementedError

    def engine_body(self, body: Mapping[str, Any], model: str, cache_salt: str) -> dict[str, Any]:
        """What the engine is asked that calls the model so; the salt keeps tenants out of each other's prefix cache."""
        return {**body, "model": model, "cache_salt": cache_salt}

    def added_tokens(self, body: Mapping[str, Any]) -> int:
        """The most tokens that the model reads of a checked body beyond those of its bytes, but for what templates and
        normalisation add.
        """
        return 0

    def prompt_field(self, body: Mapping[str, Any]) -> str:
        """The field of a checked body that the model reads."""
        return self.required[0]

    def public_field(self, field: str) -> str:
        """What clients call a field of the body that goes to the engine, or a path that begins with one; where nothing
        is translated the same.
        """
        return field

    def known(self) -> list[str]:
        """The names that a client can use, for suggestions."""
        return ["model", *self.forwarded, *self.not_forwarded]

    def error_body(self, error: ApiError) -> bytes:
        """An answer that is an error."""
        return error.envelope()

    def error_event(self, error: ApiError) -> bytes:
        """The error as the last event of a stream in which no engine's answer has begun, and its end."""
        return b"data: %b\n\ndata: [DONE]\n\n" % self.error_body(error)
