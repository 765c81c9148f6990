"""What a client of the gateway sees when something fails: OpenAI's envelope, before a stream and inside one.

ApiError                       status  type                    retried by the SDK
├── BadRequest                 400     invalid_request_error   no
│   └── NotWanted              400     invalid_request_error   no
├── Unauthenticated            401     authentication_error    no
├── Forbidden                  403     permission_error        no
│   └── MissingScope           403     permission_error        no
├── ModelNotFound              404     invalid_request_error   no
├── EndpointMissing            404     invalid_request_error   no
├── NotThere                   404     invalid_request_error   no
├── MethodNotAllowed           405     invalid_request_error   no
├── UnknownAddress             404     invalid_request_error   no
├── TooSlow                    408     invalid_request_error   yes
├── AnswerTimeout              400     invalid_request_error   no
├── AnswerTooLong              400     invalid_request_error   no
├── PayloadTooLarge            413     invalid_request_error   no
├── UnsupportedMedia           415     invalid_request_error   no
├── Misdirected                421     invalid_request_error   no
├── UnsupportedTransfer        501     invalid_request_error   no: x-should-retry says so
├── NotOffered                 501     invalid_request_error   no: x-should-retry says so
├── NotAgain                   409     invalid_request_error   no: x-should-retry says so
├── RateLimited                429     rate_limit_error        yes, after Retry-After
├── QuotaExceeded              429     insufficient_quota      no: x-should-retry says so
├── Overloaded                 503     service_unavailable     yes, after Retry-After
│   ├── Unpriced               503     service_unavailable     no, an operator must act
│   ├── Quarantined            503     service_unavailable     no, it would be in vain
│   ├── NoTurn                 503     service_unavailable     yes, after Retry-After
│   └── NotStored              503     service_unavailable     yes, after Retry-After
└── EngineFailed               502     api_error               yes
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Self

import orjson

_QUOTED_FIELD = re.compile(r"'([a-z_]+(?:\[\d+\]|\.\w+)*)'")
Headers = tuple[tuple[bytes, bytes], ...]
"""Of an HTTP answer: names in lower case, and values."""


class ApiError(Exception):
    """Root of the tree; one instance is one answer."""

    status = 500
    type = "api_error"
    should_retry: bool | None = None
    """What OpenAI's SDK is told to do; `None` leaves it to the status."""
    headers: Headers = ()
    """More headers of the answer, unless it has begun."""
    scope: str | None = None
    """Of a refusal by limits: what has the limit, such as `tenant:acme`."""
    reason: str | None = None
    """Of a refusal by limits: the limit's name, because `code` stands for several."""
    model: str | None = None
    """Of a refusal of a body: the model that it names, at most 256 characters."""
    request_id: str | None = None
    """Of the request that it answers; known when it is answered."""
    in_vain = False
    """Whether no other engine can do better: what is wrong is here."""
    disputable = False
    """Whether it is an engine's word and we do not know the reason: the engine may be at fault, and not the request."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def by(self, scope: str, reason: str) -> Self:
        """The same, refused by this limit of this scope."""
        self.scope, self.reason = scope, reason
        return self

    def by_engine(self) -> Self:
        """The same, on an engine's word alone."""
        self.disputable = True
        return self

    def about(self, model: object) -> Self:
        """The same, of a body that names this model, whatever a client put there."""
        self.model = model[:256] if isinstance(model, str) else None
        return self

    def in_terms_of(self, public_field: Callable[[str], str]) -> Self:
        """The same, which calls fields as an engine does, with the names that the client has for them: for where it
        comes to light. All that is raised further up is in the client's terms.
        """
        self.message = _QUOTED_FIELD.sub(lambda quoted: f"'{public_field(quoted[1])}'", self.message)
        self.param = None if self.param is None else public_field(self.param)
        return self

    def let_go(self) -> Self:
        """The same without the frames that it was raised in: they hold bodies, and where one of them holds the error
        it would all wait in a ring for the garbage collector.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self

    def answer_headers(self) -> Headers:
        """`headers`, and what says whether and when to try again."""
        found = [*self.headers]
        if self.retry_after_s is not None:
            found.append((b"retry-after", b"%d" % self.retry_after_s))
        if self.should_retry is not None:
            found.append((b"x-should-retry", b"true" if self.should_retry else b"false"))
        return tuple(found)

    def envelope(self) -> bytes:
        """The JSON body `{"error": {"message", "type", "param", "code"}}`. The request's id is in the header alone, as
        OpenAI has it: so the answer about another tenant's thing is, byte for byte, that about a thing of nobody.
        """
        return orjson.dumps(
            {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}
        )


class BadRequest(ApiError):
    """The body or a field of it cannot be accepted; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class Unauthenticated(ApiError):
    """No key, or a key that is unknown or revoked."""

    status = 401
    type = "authentication_error"


class Forbidden(ApiError):
    """The key is valid, and this is not for it."""

    status = 403
    type = "permission_error"


class MissingScope(Forbidden):
    """A tenant's key lacks the scope that this takes. `refused` is what it may not, as a sentence without its end."""

    def __init__(self, refused: str, scope: str, *, param: str | None = None) -> None:
        super().__init__(
            f"{refused}: it lacks the scope '{scope}'. Send a key that has it; an operator makes one with `switchyard "
            f"keys create TENANT --scope {scope}`, and with a --scope for each other one that it is to have.",
            param=param,
            code="missing_scope",
        )


class ModelNotFound(ApiError):
    """No such model for this tenant; another tenant's adapter looks exactly like none."""

    status = 404
    type = "invalid_request_error"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model '{model[:200]}' does not exist or you do not have access to it. "
            "GET /v1/models lists the models that this key can use.",
            param="model",
            code="model_not_found",
        )


class EndpointMissing(ApiError):
    """The engines of this model do not have the endpoint that was asked at."""

    status = 404
    type = "invalid_request_error"


class NotThere(ApiError):
    """Something of the tenant's own that is not there; another tenant's looks exactly like none."""

    status = 404
    type = "invalid_request_error"


class MethodNotAllowed(ApiError):
    """The path exists, for another method."""

    status = 405
    type = "invalid_request_error"


class UnknownAddress(ApiError):
    """Nothing is served there."""

    status = 404
    type = "invalid_request_error"


class TooSlow(ApiError):
    """The body did not come in time. The connection ends with the answer, because the rest may still be under way."""

    status = 408
    type = "invalid_request_error"
    headers = ((b"connection", b"close"),)


class AnswerTimeout(ApiError):
    """An answer in one piece took too long. It would take as long again, so the status is one that nobody repeats."""

    status = 400
    type = "invalid_request_error"
    should_retry = False


class AnswerTooLong(ApiError):
    """An answer in one piece is longer than the gateway keeps. It would be as long again."""

    status = 400
    type = "invalid_request_error"
    should_retry = False

    def __init__(self, most_bytes: int) -> None:
        super().__init__(
            f"The answer takes more than {most_bytes >> 20} MiB, the most for an answer in one piece "
            "(max_answer_bytes). Ask for it with 'stream': true, which has no such limit, or for less: fewer tokens, "
            "log-probabilities, answers or inputs.",
            code="answer_too_long",
        )


class PayloadTooLarge(ApiError):
    """The body is longer than the gateway's limit."""

    status = 413
    type = "invalid_request_error"


class UnsupportedMedia(ApiError):
    """The body is sent in a form that is not read; `param` is the header that says so."""

    status = 415
    type = "invalid_request_error"


class Misdirected(ApiError):
    """It was sent to a host under whose name nothing is served here."""

    status = 421
    type = "invalid_request_error"


class UnsupportedTransfer(ApiError):
    """The body comes in a transfer coding that is not read; `param` is the header that says so."""

    status = 501
    type = "invalid_request_error"
    should_retry = False


class NotOffered(ApiError):
    """A part of OpenAI's API that is not built here, and will not be there when it is asked for again."""

    status = 501
    type = "invalid_request_error"
    should_retry = False


class NotAgain(ApiError):
    """Something else was sent under the same idempotency key."""

    status = 409
    type = "invalid_request_error"
    should_retry = False


class Overloaded(ApiError):
    """Nothing can serve this now; the client should come back after `retry_after_s` seconds."""

    status = 503
    type = "service_unavailable"


class Unpriced(Overloaded):
    """There is a budget in dollars, and nothing says what a token costs."""

    should_retry = False


class Quarantined(Overloaded):
    """The version was found bad; nothing else is served in its place."""

    should_retry = False

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(
            f"{version} is quarantined and will not be served: {reason}", param="model", code="model_quarantined"
        )


class NoTurn(Overloaded):
    """All engines that could serve it were full, and its turn did not come in time."""

    in_vain = True

    def __init__(self, waited_s: float, ahead: int, retry_after_s: int) -> None:
        super().__init__(
            f"All engines that could serve this are full, and its turn did not come within {waited_s:.0f} s; {ahead} "
            "requests of this tenant are before it. Send fewer at a time, or send it again later.",
            code="no_turn",
            retry_after_s=retry_after_s,
        )


class NotStored(Overloaded):
    """An answer that was to be stored cannot be."""

    in_vain = True


class NotWanted(BadRequest):
    """A response was cancelled or deleted while it was made."""

    in_vain = True


class EngineFailed(ApiError):
    """The engine broke off or answered what cannot be understood."""

    status = 502
    type = "api_error"


class QuotaExceeded(ApiError):
    """A budget is used up; it is no use to try again before its day or month has ended."""

    status = 429
    type = "insufficient_quota"
    should_retry = False


class RateLimited(ApiError):
    """Too much at once, or within a minute, of one tenant, key or adapter; others are not affected."""

    status = 429
    type = "rate_limit_error"
