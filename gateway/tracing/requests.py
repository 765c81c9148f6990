"""The span of a request: from its head to the last byte of its answer."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.api.trace import client_span
from gateway.request_log import Request
from telemetry.spans import Begins, Span, Value

PARENT = b"traceparent"
SERVER_FAULT = 500
"""From this status on a server's span has failed, by the conventions; the others are the client's faults."""


def begin(tracing: Begins, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Span | None:
    """A request's, in the span that its client has told of; `None` when its trace is not told."""
    within = client_span([value for name, value in headers if name == PARENT])
    return tracing.begin(method, "server", within)


def end(span: Span, request: Request, route: str | None) -> None:
    """It has been answered, or its client is gone; the route is the address without what it names, if there is one."""
    who, arm, attempt = request.principal, request.arm, request.attempt
    version = None if arm is None else arm.version
    given = request.client_request_id
    if route is not None:
        span.name = f"{request.method} {route}"
        span.attributes["http.route"] = route
    span.attributes |= http_attributes(request)
    span.set(
        request_id=request.request_id,
        client_request_id=None if given is None else given.decode("latin-1"),
        tenant=None if who is None else who.tenant,
        key_id=None if who is None else who.key_id,
        model=request.model,
        served=None if arm is None else arm.public_name,
        adapter=None if version is None else f"{version.tenant}/{version.adapter}",
        version=None if version is None else version.number,
        arm=None if arm is None or arm.assignment is None else arm.assignment.arm,
        outcome=None if attempt is None else attempt.outcome,
        error=request.error,
        first_byte_s=request.first_byte_s,
        cost_nano_dollars=None if attempt is None else attempt.nano,
    )
    span.end((request.error or str(request.status)) if request.status >= SERVER_FAULT else None)


def http_attributes(request: Request) -> dict[str, Value]:
    """As the conventions for HTTP servers call them."""
    return {
        "http.request.method": request.method,
        "url.path": request.path,
        "http.response.status_code": request.status,
    }
