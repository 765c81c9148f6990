"""The dashboard's client of the gateway: who asks the same at once asks once, and each wait has an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dashboard.faults import Busy, Fault, Invalid, LoggedOut, Missing, Refused, Unreachable
from dashboard.gateway_api import GatewayApi, NoSuchRoute
from loadtest.ports import free_port
from tests.support.dashboard_parts import serving


@dataclass
class Host:
    """A gateway that counts, and answers when it is told."""

    calls: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    status: int = 200
    code: str | None = "not_found"
    etag: str | None = None

    async def answer(self, request: Request) -> Response:
        self.calls.append(f"{request.method} {request.headers['authorization']} {request.url.path}?{request.url.query}")
        if request.url.path.endswith("/hangs"):
            await asyncio.sleep(60)
        if request.url.path.endswith("/words"):
            return PlainTextResponse("<html>")
        error = {"message": "It is so.", "param": "url", "code": self.code, "type": "x"}
        body: Any = {"calls": len(self.calls)} if self.status == 200 else {"error": error}
        if self.status == 200 and self.etag is not None and request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304, headers={"etag": self.etag})
        return JSONResponse(body, self.status, headers={} if self.etag is None else {"etag": self.etag})


@asynccontextmanager
async def api_of(host: Host, **options: Any) -> AsyncIterator[GatewayApi]:
    route = Route("/{path:path}", host.answer, methods=["GET", "POST", "DELETE"])
    with serving(Starlette(routes=[route]), free_port()) as url:
        async with httpx.AsyncClient(trust_env=False, **{"timeout": 5.0, **options}) as http:
            yield GatewayApi(http, url, f"{url}/admin/v1")


async def test_who_asks_the_same_at_once_asks_once_and_other_keys_for_themselves() -> None:
    host = Host()
    async with api_of(host) as api:
        ann, rea = api.of("ann"), api.of("rea")
        answers = await asyncio.gather(*(ann.get("/fleet") for _ in range(20)))
        assert {answer["calls"] for answer in answers} == {1}
        assert (await rea.get("/fleet"))["calls"] == 2
        assert (await ann.get("/fleet", limit=3))["calls"] == 3
        assert host.calls[0] == "GET Bearer ann /admin/v1/fleet?"
        assert host.calls[2].endswith("/admin/v1/fleet?limit=3")


async def test_an_answer_is_asked_for_again_when_its_life_is_over() -> None:
    host = Host()
    async with api_of(host) as api:
        ann = api.of("ann")
        assert (await ann.get("/fleet", life_s=0))["calls"] == 1
        assert (await ann.get("/fleet", life_s=0))["calls"] == 2


async def test_what_is_as_it_was_is_not_sent_again() -> None:
    host = Host(etag='W/"one"')
    async with api_of(host) as api:
        ann = api.of("ann")
        first = await ann.get("/fleet", life_s=0)
        assert await ann.get("/fleet", life_s=0) is first
        assert await ann.get("/fleet", life_s=0) is first, "what it was not sent twice it may not be sent a third time"
        host.etag = 'W/"two"'
        assert (await ann.get("/fleet", life_s=0))["calls"] == 4
        host.status = 500
        with pytest.raises(Fault):
            await ann.get("/fleet", life_s=0)
        host.status = 200
        assert (await ann.get("/fleet", life_s=0))["calls"] == 6, "after a failure nothing is known"


async def test_who_leaves_takes_the_answer_from_nobody() -> None:
    host = Host()
    async with api_of(host) as api:
        ann = api.of("ann")
        first = asyncio.ensure_future(ann.get("/fleet"))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(ann.get("/fleet"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second)["calls"] == 1


async def test_after_an_order_nothing_that_was_kept_is_believed() -> None:
    host = Host()
    async with api_of(host) as api:
        ann = api.of("ann")
        await ann.get("/fleet", life_s=60)
        await ann.post("/engines/drain", {"url": "x"})
        assert (await ann.get("/fleet", life_s=60))["calls"] == 3


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "invalid_api_key", LoggedOut),
        (403, "not_allowed", Refused),
        (404, "not_found", Missing),
        (404, "unknown_url", NoSuchRoute),
        (409, "conflict", Invalid),
        (503, "controller_away", Busy),
        (500, None, Fault),
    ],
)
async def test_a_refusal_is_the_gateways_own_sentence(status: int, code: str | None, kind: type[Fault]) -> None:
    async with api_of(Host(status=status, code=code)) as api:
        with pytest.raises(kind) as caught:
            await api.of("ann").get("/fleet")
        assert type(caught.value) is kind
        if kind is Invalid:
            assert caught.value.field == "url"  # type: ignore[attr-defined]
        assert kind is NoSuchRoute or str(caught.value) == "It is so."


async def test_a_failure_is_kept_for_nobody() -> None:
    host = Host(status=500)
    async with api_of(host) as api:
        with pytest.raises(Fault):
            await api.of("ann").get("/fleet", life_s=60)
        host.status = 200
        assert (await api.of("ann").get("/fleet", life_s=60))["calls"] == 2


async def test_what_this_gateway_has_not_is_as_if_nothing_was_there() -> None:
    async with api_of(Host(status=404)) as api:
        assert await api.of("ann").get_or("/attention", None) is None


async def test_a_gateway_that_hangs_or_is_away_or_is_none_is_told_so() -> None:
    async with api_of(Host(), timeout=0.2) as api:
        with pytest.raises(Unreachable, match="did not answer in time"):
            await api.of("ann").get("/hangs")
        with pytest.raises(Fault, match="is no gateway"):
            await api.of("ann").get("/words")
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(Unreachable, match="does not answer"):
            await GatewayApi(http, "http://127.0.0.1:9", "http://127.0.0.1:9").of("ann").get("/fleet")


async def test_a_question_may_be_waited_for_longer_or_shorter_than_others() -> None:
    async with api_of(Host(), timeout=30.0) as api:
        with pytest.raises(Unreachable, match="did not answer in time"):
            await api.of("ann").waiting(0.05).get_or("/hangs", None)
