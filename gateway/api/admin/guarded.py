"""Routes behind the gate: who has no key, a role that does not go so far, or sends what nobody reads, gets no further.
What is ordered is in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute
from starlette.types import Message

from gateway.api.admin.auditing import audited
from gateway.api.admin.auth import OPERATOR, READS, AdminGate, require_role
from gateway.api.admin.etags import unless_known
from gateway.api.media import refuse_coded, refuse_forms
from gateway.api.no_nul import refuse_nul
from gateway.errors import BadRequest
from registry.db import Database
from registry.storage.strict_json import NotStrictJson, RepeatedKey, strict_json


def refuse_unknown_queries(request: Request, known: frozenset[str]) -> None:
    """A parameter that nobody reads would be an order that is obeyed without its condition. Raises `BadRequest`."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        shown = name[:80]
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise BadRequest(
                f"'{shown}' is no query parameter of {request.method} {request.url.path}: {takes}.",
                param=shown,
                code="unknown_parameter",
            )
        if given.count(name) > 1:
            raise BadRequest(
                f"'{shown}' is given {given.count(name)} times; send it once.", param=shown, code="invalid_value"
            )


CONDITIONS = frozenset({"if-match", "if-none-match", "if-unmodified-since"})
"""Headers that make an order depend on what is there."""


def refuse_unread_conditions(request: Request, read: frozenset[str]) -> None:
    """The same for the header of a condition. Raises `BadRequest`."""
    if request.method in ("GET", "HEAD"):
        return
    for name in sorted(CONDITIONS - read):
        if name in request.headers:
            raise BadRequest(
                f"{request.method} {request.url.path} looks at no '{name}' and would be obeyed whatever is there. "
                "Send it without.",
                param=name,
                code="unknown_condition",
            )


def refuse_body(request: Request) -> None:
    """The same for a body where none is read. Raises `BadRequest`."""
    headers = request.headers
    if headers.get("content-length", "0").strip() not in ("", "0") or "transfer-encoding" in headers:
        raise BadRequest(
            f"{request.method} {request.url.path} takes no body, and would not look at this one. Send none.",
            code="unexpected_body",
        )


async def with_strict_json(request: Request) -> Request:
    """The same with a body that every parser reads alike, and that is taken for JSON whatever it is called. Raises
    `BadRequest`.
    """
    raw = await request.body()
    try:
        if raw:
            strict_json(raw)
    except RepeatedKey as error:
        shown = error.key[:80]
        raise BadRequest(
            f"{shown} is given twice in one object of the body; say it once.", param=shown, code="invalid_json"
        ) from None
    except NotStrictJson as error:
        raise BadRequest(f"The body cannot be read as JSON: it is or has {error}.", code="invalid_json") from None
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]

    async def again() -> Message:
        return {"type": "http.request", "body": raw, "more_body": False}

    return Request({**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}, again)


def guarded_by(gate: AdminGate, db: Database) -> type[APIRoute]:
    """Routes that look at the key before anything else: of a stranger not even the body is read. `db` has the audit
    log.
    """

    class GuardedRoute(APIRoute):
        """A route behind the gate."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """FastAPI's own handler, after the checks."""
            handle = super().get_route_handler()
            flat = get_flat_dependant(self.dependant)
            queries = frozenset(param.alias for param in flat.query_params)
            headers = frozenset(param.alias.lower() for param in flat.header_params)
            takes_body = self.body_field is not None

            async def answer(request: Request) -> Response:
                await refuse_nul(request)
                refuse_unknown_queries(request, queries)
                refuse_unread_conditions(request, headers)
                refuse_forms(request.headers.get("content-type", "").encode("latin-1"))
                refuse_coded(request.headers.get("content-encoding", "").encode("latin-1"))
                if takes_body:
                    return await handle(await with_strict_json(request))
                refuse_body(request)
                return await handle(request)

            async def guarded(request: Request) -> Response:
                operator = request.scope[OPERATOR] = gate.enter(request)
                if request.method in READS:
                    return unless_known(request, await answer(request))

                async def carry_out() -> Response:
                    require_role(operator, request)
                    return await answer(request)

                return await audited(request, operator, self.path, db, carry_out)

            return guarded

    return GuardedRoute
