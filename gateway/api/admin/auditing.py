"""Writes every order of the admin API into the audit log: before it is carried out, and what came of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from gateway.api.admin.auth import Operator
from gateway.api.error_handlers import STATUS_AND_CODE
from gateway.api.order_faults import refusal_of
from gateway.api.request_ids import REQUEST_ID
from gateway.errors import ApiError, PayloadTooLarge
from registry.audit.naming import about_of, tenant_of
from registry.audit.order import CURRENT, Order, Ordered, Outcome
from registry.db import Database
from registry.errors import RegistryError

log = logging.getLogger("switchyard.audit")
MOST_BODY_BYTES = 4_000_000
"""Of an order. The largest that the API has, the shares of an idle policy, is a tenth of this."""


async def audited(
    request: Request, operator: Operator, route: str, db: Database, carry_out: Callable[[], Awaitable[Response]]
) -> Response:
    """The answer to an order, which is in the log before anything is done. Raises what `carry_out` raises, and
    `PayloadTooLarge`; of a reader, who may order nothing, no body is read.
    """
    body = await _body_of(request) if operator.role == "operate" else {}
    order = Order(_ordered(request, operator, route, body))
    await run_in_threadpool(order.begin, db)
    token = CURRENT.set(order)
    try:
        answer = await carry_out()
    except Exception as error:
        status, said = _told(request, error)
        await _end(order, "refused" if status < 500 else "failed", status, said)
        raise
    finally:
        CURRENT.reset(token)
    await _end(order, "done", answer.status_code, None)
    return answer


async def _end(order: Order, outcome: Outcome, status: int, error: str | None) -> None:
    try:
        await run_in_threadpool(partial(order.end, outcome, status=status, error=error))
    except SQLAlchemyError as fault:  # it stays an order without an outcome
        log.error(
            "order %s of the audit log was %s (%d), which could not be written: %s", order.seq, outcome, status, fault
        )


async def _body_of(request: Request) -> dict[str, Any]:
    """What is ordered, as far as it can be read: the route itself refuses the rest."""
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MOST_BODY_BYTES:
        raise _too_large()
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BODY_BYTES:
            raise _too_large()
    request._body = raw = b"".join(chunks)  # as `Request.body` keeps it, which has no bound
    if not raw:
        return {}
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return {"unreadable": f"{len(raw)} bytes"}
    return document if isinstance(document, dict) else {"value": document}


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is longer than {MOST_BODY_BYTES} bytes.", code="payload_too_large")


def _ordered(request: Request, operator: Operator, route: str, body: Mapping[str, Any]) -> Ordered:
    query = dict(request.query_params)
    params = {name: value for name, value in request.path_params.items() if name != "action"}
    about = about_of(params, {**query, **body}, request.url.path)
    client = request.scope.get("client")
    return Ordered(
        actor=operator.name,
        via="api",
        route=route,
        object=about,
        tenant=tenant_of(about, {**query, **body, **params}),
        method=request.method,
        path=request.url.path,
        key_id=operator.key_id,
        role=operator.role,
        address=client[0] if client else None,
        request_id=request.scope.get(REQUEST_ID),
        body={**({"query": query} if query else {}), **body},
    )


def _told(request: Request, error: Exception) -> tuple[int, str]:
    """Status and message of the refusal that its caller gets."""
    if isinstance(error, RequestValidationError):
        error = refusal_of(request, error)
    if isinstance(error, ApiError):
        return error.status, error.message
    if isinstance(error, RegistryError):
        known = (STATUS_AND_CODE[kind][0] for kind in type(error).__mro__ if kind in STATUS_AND_CODE)
        return next(known, 500), error.message
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail)
    return (
        (503, "the database could not be used") if isinstance(error, SQLAlchemyError) else (500, type(error).__name__)
    )
