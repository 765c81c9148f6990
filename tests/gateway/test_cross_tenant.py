"""Another tenant's thing and one that nobody has are one answer, byte for byte, however it is spelled and asked for.

The routes are the application's own: one that is in no class here fails the first test.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute

from gateway.api.dialects import DIALECTS
from tests.support.spellings import IN_PATHS, SPELLED, alike
from tests.support.stack import CHAT, MESSAGES, Stack, open_house, run_stack
from tests.support.two_tenants import Belongings, belongings, nobodys, secret_of, settle, twins

Both = tuple[Stack, Belongings, Belongings]
"""The stack, what the stranger has, and what the other tenant has."""
STRANGER, OTHER = "acme", "globex"
JSON = "application/json"
NOT_OFFERED, REQUEST_IDS = 501, ("x-request-id", "request-id")
KINDS_IN_PATHS = {
    "model": "model",
    "response_id": "response",
    "conversation_id": "conversation",
    "item_id": "conversation item",
    "file_id": "file",
    "upload_id": "upload",
    "job_id": "job",
    "endpoint_id": "endpoint",
    "permission_id": "checkpoint",
    "action": "job",
}
"""What a part of an address is the id of."""
MODELS = ("model", "short model", "version", "alias", "external model", "name on engines", "digest", "tenant")
"""Kinds of what somebody may write for a model."""
PAGES = ("after", "after_id", "before_id", "request_id")
PAGED = ("model", "item", "conversation item", "response", "file", "job", "event", "checkpoint", "endpoint", "feedback")
"""Parameters of queries by which something is named, and what is listed in pages."""
FORM = b'--e\r\nContent-Disposition: form-data; name="data"; filename="a"\r\n\r\nabc\r\n--e--\r\n'
SAID = [{"role": "user", "content": "x"}]
BODIES: Mapping[str, Any] = {
    "POST /v1/conversations": {},
    "POST /v1/conversations/{conversation_id}": {"metadata": {"a": "b"}},
    "POST /v1/conversations/{conversation_id}/items": {"items": SAID},
    "POST /v1/feedback": None,
    "POST /v1/files": None,
    "POST /v1/fine_tuning/jobs": None,
    "POST /v1/uploads": None,
    "POST /v1/uploads/{upload_id}/complete": {"part_ids": ["part_0"]},
    "POST /v1/uploads/{upload_id}/parts": FORM,
    "POST /v1/webhook_endpoints": None,
    "POST /v1/webhook_endpoints/{endpoint_id}": {"name": "x"},
    "POST /v1/webhook_endpoints/{endpoint_id}/rotate_secret": {},
    "POST /v1/webhook_endpoints/{endpoint_id}/test": {"event_type": "fine_tuning.job.succeeded"},
    **{
        f"POST /v1/{route}": {}
        for route in (
            "responses/{response_id}/cancel",
            "uploads/{upload_id}/cancel",
            "fine_tuning/jobs/{job_id}/cancel",
            "fine_tuning/jobs/{job_id}/pause",
            "fine_tuning/jobs/{job_id}/resume",
            "fine_tuning/checkpoints/{model:path}/permissions",
            "fine_tuning/alpha/graders/{action}",
        )
    },
}
"""A body with which a request comes as far as what its address names; `None`: the address names nothing. Ids within
bodies are in `NAMED`.
"""
LEAST: Mapping[str, dict[str, Any]] = {
    "chat": {"messages": MESSAGES, "max_tokens": 1},
    "completions": {"prompt": "x", "max_tokens": 1},
    "responses": {"input": "x", "max_output_tokens": 1},
    "input_tokens": {"input": "x"},
    "messages": {"messages": MESSAGES, "max_tokens": 1},
    "count_tokens": {"messages": MESSAGES},
    "embeddings": {"input": "x"},
    "score": {"queries": "a", "documents": ["b"]},
    "rerank": {"query": "a", "documents": ["b"]},
    "tokenize": {"prompt": "x"},
    "detokenize": {"tokens": [1]},
}
"""The shortest good body of each dialect, but for its model."""


class Named(NamedTuple):
    """A field that names something of `kind`: `body` is the whole body with what somebody writes there, beside what
    the stranger has itself.
    """

    route: str
    kind: str
    body: Callable[[Belongings, str], Any]


def _turn(**fields: Any) -> dict[str, Any]:
    return {"model": "triage", "input": "x", "max_output_tokens": 1, **fields}


COUNTED = "POST /v1/responses/input_tokens"
NAMED = (
    Named("POST /v1/responses", "response", lambda own, id_: _turn(previous_response_id=id_)),
    Named("POST /v1/responses", "conversation", lambda own, id_: _turn(conversation=id_)),
    Named("POST /v1/responses", "conversation", lambda own, id_: _turn(conversation={"id": id_})),
    Named("POST /v1/responses", "item", lambda own, id_: _turn(input=[{"type": "item_reference", "id": id_}])),
    Named(
        "POST /v1/responses", "conversation item", lambda own, id_: _turn(input=[{"type": "item_reference", "id": id_}])
    ),
    Named(
        "POST /v1/responses",
        "file",
        lambda own, id_: _turn(input=[{"role": "user", "content": [{"type": "input_file", "file_id": id_}]}]),
    ),
    Named(COUNTED, "response", lambda own, id_: _turn(max_output_tokens=None, previous_response_id=id_)),
    Named(COUNTED, "conversation", lambda own, id_: _turn(max_output_tokens=None, conversation=id_)),
    Named("POST /v1/conversations", "item", lambda own, id_: {"items": [{"type": "item_reference", "id": id_}]}),
    Named(
        "POST /v1/conversations/{conversation_id}/items",
        "item",
        lambda own, id_: {"items": [{"type": "item_reference", "id": id_}]},
    ),
    Named("POST /v1/feedback", "answer", lambda own, id_: {"response_id": id_, "metric": "stars", "value": 1}),
    Named("POST /v1/feedback", "response", lambda own, id_: {"response_id": id_, "metric": "stars", "value": 1}),
    *(
        Named("POST /v1/feedback", kind, lambda own, id_: {"unit": "u", "model": id_, "metric": "stars", "value": 1})
        for kind in MODELS
    ),
    Named("POST /v1/fine_tuning/jobs", "file", lambda own, id_: {"model": "tiny", "training_file": id_}),
    Named(
        "POST /v1/fine_tuning/jobs",
        "file",
        lambda own, id_: {"model": "tiny", "training_file": own.of["file"], "validation_file": id_},
    ),
    *(
        Named("POST /v1/fine_tuning/jobs", kind, lambda own, id_: {"model": id_, "training_file": own.of["file"]})
        for kind in (*MODELS, "job", "checkpoint")
    ),
    Named("POST /v1/uploads/{upload_id}/complete", "part", lambda own, id_: {"part_ids": [id_]}),
)
NAMES_NOTHING = {
    "POST /v1/conversations/{conversation_id}",
    "POST /v1/files",
    "POST /v1/uploads",
    "POST /v1/webhook_endpoints",
    *(route for route in BODIES if "webhook_endpoints/" in route or BODIES[route] in ({}, FORM)),
} - {named.route for named in NAMED}
"""Routes in whose bodies nothing is named by an id."""


class Heard(NamedTuple):
    """All of an answer that may not differ."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


class Asker:
    """Asks as the stranger, with addresses sent as they are."""

    def __init__(self, stack: Stack) -> None:
        address = urlsplit(stack.url)
        assert address.hostname is not None
        self._http = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        self._key = stack.house.keys[STRANGER]

    def close(self) -> None:
        """Ask no more."""
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Heard:
        """One request."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = "multipart/form-data; boundary=e" if raw == FORM else JSON
        given = {"Authorization": f"Bearer {self._key}", "Content-Type": kind, **headers}
        self._http.request(method, path, raw, given)
        answer = self._http.getresponse()
        text = answer.read().decode()
        kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() != "date"}
        for name in REQUEST_IDS:
            text = text.replace(kept.pop(name, "none"), "ID")
        return Heard(answer.status, tuple(kept.items()), text)


@pytest.fixture(scope="module")
def all_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both tenants before one gateway."""
    with open_house(tmp_path_factory.mktemp("two-tenants")) as house:
        settle(house, STRANGER, "triage")
        settle(house, OTHER, "sentiment")
        with run_stack(house) as stack:
            yield stack, belongings(stack, STRANGER, "triage"), belongings(stack, OTHER, "sentiment")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the usage row of an answer that is not there."""
    monkeypatch.setattr("gateway.feedback.box.LONGEST_WAIT_S", 0.0)


@pytest.fixture
def asker(all_: Both) -> Iterator[Asker]:
    """The stranger."""
    one = Asker(all_[0])
    yield one
    one.close()


@pytest.fixture(scope="module", autouse=True)
def _untouched(all_: Both) -> Iterator[None]:
    """What the other tenant has is as it was, after all of the tests."""
    stack, _, other = all_
    before = _everything_of(stack, other)
    assert secret_of(OTHER) in json.dumps(before)
    yield
    assert _everything_of(stack, other) == before


def _everything_of(stack: Stack, other: Belongings) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {stack.house.keys[OTHER]}"}
    found = {}
    for route in tenants_routes(stack):
        if "GET" in (route.methods or ()) and "not_offered" not in route.endpoint.__module__:
            path = _address(route, {param: other.of[KINDS_IN_PATHS[param]] for param in _params(route)})
            answer = stack.http.get(f"{stack.url}{path}", headers=headers)
            assert answer.status_code == 200, f"{path}: {answer.text}"
            found[path] = re.sub(r'"until_ms":\d+', "", answer.text)
    return found


def tenants_routes(stack: Stack) -> list[APIRoute]:
    """Those of the application that tenants' keys open."""
    return [route for route in stack.routes() if route.path.startswith("/v1/")]


def _params(route: APIRoute) -> list[str]:
    return re.findall(r"{(\w+)", route.path)


def _address(route: APIRoute, values: Mapping[str, str]) -> str:
    return re.sub(r"{(\w+)(?::path)?}", lambda found: values[found[1]], route.path)


def _asked(stack: Stack) -> Iterator[tuple[APIRoute, str]]:
    for route in tenants_routes(stack):
        for method in sorted(route.methods or ()):
            yield route, method


def check(what: str, heard: Sequence[tuple[str, Heard]]) -> None:
    """All answers are one, but for the name that was asked for: the first about the other tenant's thing, the others
    about nobody's.
    """
    name, theirs = heard[0]
    assert secret_of(OTHER) not in theirs.body, what
    assert theirs.status < 500 or theirs.status == NOT_OFFERED, f"{what}: {theirs}"
    for twin, none in heard[1:]:
        assert (theirs.status, theirs.headers) == (none.status, none.headers), what
        assert alike(theirs.body, none.body, name, twin), f"{what}:\n{theirs.body}\n{none.body}"


def test_every_route_of_tenants_is_in_a_class(all_: Both) -> None:
    stack = all_[0]
    unknown = [param for route in tenants_routes(stack) for param in _params(route) if param not in KINDS_IN_PATHS]
    assert not unknown, "say in KINDS_IN_PATHS what these are the ids of"
    with_bodies = {f"{method} {route.path}" for route, method in _asked(stack) if method not in ("GET", "DELETE")}
    assert with_bodies == set(BODIES), "give each of these routes a body, or none"
    named = {one.route for one in NAMED}
    assert with_bodies <= named | NAMES_NOTHING, "say in NAMED which ids their bodies have, or in NAMES_NOTHING"
    assert {f"POST {one.path}" for one in DIALECTS.values()} & named == {"POST /v1/responses", COUNTED}
    assert set(LEAST) == set(DIALECTS)


def test_no_address_tells_anothers_thing_from_none(all_: Both, asker: Asker) -> None:
    stack, own, other = all_
    asked = 0
    for route, method in _asked(stack):
        params = _params(route)
        for param in params:
            kinds = MODELS if KINDS_IN_PATHS[param] == "model" else (KINDS_IN_PATHS[param],)
            for kind in kinds:
                plain = (other.of[kind], *twins(other.of[kind]))
                for spelled, in_path in _ways():
                    mine = {one: own.of[KINDS_IN_PATHS[one]] for one in params}
                    # What stands below another's thing is another's too.
                    below = {one: other.of[KINDS_IN_PATHS[one]] for one in params[params.index(param) + 1 :]}
                    heard = []
                    for name in map(spelled, plain):
                        path = _address(route, {**mine, **below, param: in_path(name)})
                        heard.append((name, asker.ask(method, path, BODIES.get(f"{method} {route.path}"))))
                        asked += 1
                    check(f"{method} {route.path}: {heard[0][0]!r}", heard)
                    if spelled is str:
                        assert heard[0][1].status >= 400, f"{method} {route.path}: {heard[0]}"
    assert asked > 2_000


def _ways() -> Iterator[tuple[Callable[[str], str], Callable[[str], str]]]:
    plain = IN_PATHS["as it is"]
    yield from ((spelled, plain) for spelled in SPELLED.values())
    yield from ((str, in_path) for in_path in IN_PATHS.values())


def test_no_query_does(all_: Both, asker: Asker) -> None:
    stack, own, other = all_
    asked = 0
    for route, method in _asked(stack):
        if method != "GET":
            continue
        path = _address(route, {one: own.of[KINDS_IN_PATHS[one]] for one in _params(route)})
        for param in PAGES:
            for kind in PAGED:
                heard = []
                for one in (other.of[kind], nobodys(other.of[kind])):
                    query = f"{path}?{param}={IN_PATHS['slashes too'](one)}"
                    heard.append((one, asker.ask(method, query, **{"anthropic-version": "2023-06-01"})))
                    asked += 1
                check(f"{path}?{param}: {kind}", heard)
    assert asked > 1_000


@pytest.mark.parametrize("number", range(len(NAMED)), ids=lambda number: f"{NAMED[number].route} {NAMED[number].kind}")
def test_no_body_does(all_: Both, asker: Asker, number: int) -> None:
    _, own, other = all_
    named = NAMED[number]
    method, _, template = named.route.partition(" ")
    path = re.sub(r"{(\w+)}", lambda found: own.of[KINDS_IN_PATHS[found[1]]], template)
    plain = (other.of[named.kind], *twins(other.of[named.kind]))
    for what, spelled in SPELLED.items():
        heard = [(one, asker.ask(method, path, named.body(own, one))) for one in map(spelled, plain)]
        assert heard[0][1].status >= 400, f"{what}: {heard[0]}"
        check(f"{named.route}, {named.kind}, {what}", heard)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_dialect_does(all_: Both, asker: Asker, dialect: str) -> None:
    other = all_[2]
    path = DIALECTS[dialect].path
    for kind in MODELS:
        plain = (other.of[kind], *twins(other.of[kind]))
        # All dialects find models in one way, so one is asked for all kinds in all spellings, the others for some.
        everything = dialect == "chat" or kind == "model"
        for what, spelled in SPELLED.items() if everything else (("as it is", str),):
            heard = [(one, asker.ask("POST", path, {**LEAST[dialect], "model": one})) for one in map(spelled, plain)]
            assert heard[0][1].status >= 400, f"{kind}, {what}: {heard[0]}"
            check(f"{path}, {kind}, {what}", heard)


def test_no_deployment_of_azures_clients_does(all_: Both, asker: Asker) -> None:
    other = all_[2]
    ending = CHAT.removeprefix("/v1")
    for kind in MODELS:
        plain = (other.of[kind], *twins(other.of[kind]))
        for spelled, in_path in _ways():
            heard = []
            for name in plain:
                path = f"/openai/deployments/{in_path(spelled(name))}{ending}"
                heard.append((spelled(name), asker.ask("POST", path, LEAST["chat"])))
            assert heard[0][1].status >= 400, heard[0]
            check(f"deployment, {kind}", heard)


def test_no_route_of_operators_does(all_: Both, asker: Asker) -> None:
    stack, _, other = all_
    asked = 0
    for route in stack.routes():
        if not route.path.startswith("/admin/"):
            continue
        for method in sorted(route.methods or ()):
            heard = []
            for tenant in (OTHER, *twins(OTHER)):
                values = {"tenant": tenant, "name": tenant, "adapter": "sentiment", "version": "1.0", "alias": "canary"}
                known = {one: values.get(one, other.of.get(one.removesuffix("_id"), tenant)) for one in _params(route)}
                heard.append((tenant, asker.ask(method, _address(route, known), None if method == "GET" else {})))
                asked += 1
            assert heard[0][1].status in (401, 403), f"{method} {route.path}: {heard[0]}"
            check(f"{method} {route.path}", heard)
    assert asked > 200


def test_nothing_that_is_listed_is_anothers(all_: Both, asker: Asker) -> None:
    stack, own, other = all_
    for route, method in _asked(stack):
        if method == "GET":
            path = _address(route, {one: own.of[KINDS_IN_PATHS[one]] for one in _params(route)})
            heard = asker.ask(method, path)
            assert OTHER not in heard.body, path
            shown = [kind for kind, id_ in other.of.items() if id_ in heard.body and kind != "tenant"]
            assert not shown, path
