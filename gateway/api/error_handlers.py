"""The one place where errors of FastAPI's routes become OpenAI's envelope, or Anthropic's for its clients."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException

from gateway.api.addresses import allowed_methods, form_at, where_it_may_be
from gateway.api.client import ClientGone
from gateway.api.dialects import DIALECTS
from gateway.api.models import ANTHROPIC
from gateway.api.order_faults import refusal_of
from gateway.api.request_ids import REQUEST_ID
from gateway.errors import ApiError, Overloaded, UnknownAddress
from gateway.handoffs import CLIENT_GONE_STATUS
from gateway.told import UNSTORABLE, unstorable
from registry.archive.reading import ArchiveUnreadable
from registry.backends import is_contention
from registry.errors import AdapterRefused, Conflict, GateClosed, InvalidInput, NotFound, RegistryError, Stale

log = logging.getLogger("switchyard.api")
STATUS_AND_CODE: dict[type[RegistryError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_input"),
    AdapterRefused: (400, "adapter_refused"),
    NotFound: (404, "not_found"),
    Conflict: (409, "conflict"),
    Stale: (412, "stale"),
    GateClosed: (409, "gate_closed"),
    ArchiveUnreadable: (503, "archive_unreadable"),
}
"""What each error of the registry is over HTTP; the others are faults of ours."""
REGISTRY_RETRY_AFTER_S = 2
MESSAGES = DIALECTS["messages"]
"""In whose form Anthropic's clients read errors."""


def translate_errors(web: FastAPI) -> None:
    """Install the handlers."""

    web.add_exception_handler(Exception, _on_fault)

    @web.exception_handler(ApiError)
    async def on_api_error(request: Request, error: ApiError) -> Response:
        return _told(request, error)

    @web.exception_handler(ClientGone)
    async def on_client_gone(_request: Request, _error: ClientGone) -> Response:
        return Response(status_code=CLIENT_GONE_STATUS)  # for the log: nobody gets it

    @web.exception_handler(RegistryError)
    async def on_registry_error(_request: Request, error: RegistryError) -> Response:
        known = (STATUS_AND_CODE[kind] for kind in type(error).__mro__ if kind in STATUS_AND_CODE)
        status, code = next(known, (500, "registry_error"))
        kind = "invalid_request_error" if status < 500 else "api_error"
        body = {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}
        return JSONResponse(body, status)

    for kind in UNSTORABLE:

        @web.exception_handler(kind)
        async def on_unstorable(request: Request, _error: Exception) -> Response:
            return _told(request, unstorable())

    @web.exception_handler(SQLAlchemyError)
    async def on_database_error(request: Request, error: SQLAlchemyError) -> Response:
        log.warning(
            "%s %s: %s", request.method, request.url.path, error
        )  # its text has SQL and values: not for clients
        busy = isinstance(error, DBAPIError) and is_contention(error)
        away = Overloaded(
            "The registry is busy with another change, and nothing was changed. Try again."
            if busy
            else "The registry's database cannot be used now; requests go on without it, and this does not.",
            code="registry_away",
            retry_after_s=REGISTRY_RETRY_AFTER_S,
        )
        return _told(request, away)

    @web.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        return _told(request, refusal_of(request, error))

    @web.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        allowed = allowed_methods(web, request.scope) if error.status_code == 405 else []
        remedy = f"It takes {', '.join(allowed)}." if allowed else where_it_may_be(request.url.path, web)
        message = f"{request.method} {request.url.path[:100]}: {error.detail}. {remedy}"
        refusal = UnknownAddress(message, code="unknown_url")
        refusal.status, refusal.request_id = error.status_code, request.scope.get(REQUEST_ID)
        form = MESSAGES if ANTHROPIC in request.headers else form_at(request.url.path)
        body = form.error_body(refusal)
        headers = {"allow": ", ".join(allowed)} if allowed else error.headers
        return Response(body, error.status_code, headers, "application/json")


async def _on_fault(request: Request, _error: Exception) -> Response:
    """Whoever serves it writes the fault into the log and ends the connection: nothing must be sent on it."""
    fault = ApiError("The gateway failed on this request; it is our fault.", code="internal_error")
    fault.headers = ((b"connection", b"close"),)
    return _told(request, fault)


def _told(request: Request, error: ApiError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error.answer_headers()}
    error.request_id = request.scope.get(REQUEST_ID)
    body = MESSAGES.error_body(error) if ANTHROPIC in request.headers else error.envelope()
    return Response(body, error.status, headers, "application/json")
