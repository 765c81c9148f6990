"""Routes that are made from what FastAPI found out before are those that it makes anew."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI, Query, Request, Response, routing
from fastapi.dependencies import utils
from fastapi.testclient import TestClient
from pydantic import BaseModel

from tests.support import routes


class Answer(BaseModel):
    house: str
    given: list[Any]


def asked(request: Request) -> str:
    return request.headers["asked"]


def served(house: str, least: int) -> FastAPI:
    """An application as a gateway makes it: of routes that close over what is theirs."""

    def refuse(request: Request) -> None:
        request.state.passed = [house]

    web = FastAPI(dependencies=[Depends(refuse)])

    @web.get("/things/{name}")
    async def show(
        request: Request,
        name: str,
        head: Annotated[str, Depends(asked)],
        least: Annotated[int, Query(ge=0)] = least,
    ) -> Answer:
        return Answer(house=house, given=[*request.state.passed, name, head, least])

    @web.post("/things", response_model=Answer, status_code=201)
    def add(first: Annotated[int, Body()], second: Annotated[str, Body()], response: Response) -> Answer:
        response.headers["house"] = house
        return Answer(house=house, given=[first, second])

    return web


def answers(web: FastAPI) -> list[Any]:
    with TestClient(web) as http:
        head = {"asked": "politely"}
        got = [http.get("/things/a", headers=head, params=query) for query in ({}, {"least": 7}, {"least": -1})]
        put = [http.post("/things", json=body) for body in ({"first": 1, "second": "b"}, {"first": "x"})]
        return [(one.status_code, one.headers.get("house"), one.json()) for one in got + put]


def test_every_application_has_its_own_routes_with_what_was_found_out_once() -> None:
    assert utils.get_dependant is not routes._dependant, "the session's fixture"
    one, other = served("one", 1), served("other", 2)
    first, second = answers(one), answers(other)
    assert first[0] == (200, None, {"house": "one", "given": ["one", "a", "politely", 1]})
    assert second[0] == (200, None, {"house": "other", "given": ["other", "a", "politely", 2]})
    assert [answer[:2] for answer in second[3:]] == [(201, "other"), (422, None)]


def test_what_is_remembered_is_what_fastapi_finds_out(monkeypatch: Any) -> None:
    remembered = [served("one", 1) for _ in range(2)][1]
    monkeypatch.setattr(utils, "get_dependant", routes._dependant)
    monkeypatch.setattr(routing, "get_dependant", routes._dependant)
    monkeypatch.setattr(routing, "create_model_field", routes._field)
    monkeypatch.setattr(routing, "get_body_field", routes._body)
    anew = served("one", 1)
    assert remembered.openapi() == anew.openapi()
    assert answers(remembered) == answers(anew)
