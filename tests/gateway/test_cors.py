"""Pages in browsers: what origins that the settings list may do, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings
from tests.support.stack import CHAT, MESSAGES, House, Stack, open_house, run_gateway, run_stack

PAGE, OTHER = "https://app.example.com", "https://evil.example.com"
BODY = {"model": "triage", "messages": MESSAGES, "max_tokens": 1}
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-stainless-os"}


@pytest.fixture(scope="module")
def open_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway that one page may call."""
    with open_house(tmp_path_factory.mktemp("cors")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house, cors_origins=[PAGE]) as stack:
            yield stack


def preflight(stack: Stack, path: str = CHAT, origin: str = PAGE, **more: str) -> httpx.Response:
    return stack.http.options(f"{stack.url}{path}", headers={"Origin": origin, **ASKED, **more})


def told(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("path", [CHAT, "/chat/completions", "/v1/models", "/v1/models/acme/triage", "/v1/anything"])
def test_a_browser_is_told_what_a_listed_page_may_send_before_there_is_a_key(open_to: Stack, path: str) -> None:
    answer = preflight(open_to, path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert told(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": "authorization,x-stainless-os",
        "access-control-max-age": "7200",
    }
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_listed_page_may_read_answers_and_their_headers_errors_too(open_to: Stack, stream: bool) -> None:
    for key in ("acme", "sk-unknown"):
        answer = open_to.post(CHAT, {**BODY, "stream": stream}, key, {"Origin": PAGE})
        assert answer.status_code == (200 if key == "acme" else 401)
        assert told(answer) == {"access-control-allow-origin": PAGE, "access-control-expose-headers": "*"}
        assert answer.headers["vary"] == "Origin"


def test_so_it_may_on_routes_that_are_no_inference_and_where_nothing_is(open_to: Stack) -> None:
    for path in ("/v1/models", "/v1/nothing"):
        answer = open_to.http.get(f"{open_to.url}{path}", headers={"Origin": PAGE, **open_to.operator})
        assert told(answer)["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize(
    "origin", [OTHER, "http://app.example.com", f"{PAGE}:8443", f"{PAGE}.evil.com", "null", f"{PAGE}/", PAGE.upper()]
)
def test_another_page_is_told_nothing(open_to: Stack, origin: str) -> None:
    assert preflight(open_to, origin=origin).status_code == 405
    assert told(preflight(open_to, origin=origin)) == {}
    answer = open_to.post(CHAT, BODY, headers={"Origin": origin})
    assert (answer.status_code, told(answer), answer.headers["vary"]) == (200, {}, "Origin")


def test_caches_know_that_answers_differ_by_origin_also_without_one(open_to: Stack) -> None:
    assert open_to.post(CHAT, BODY).headers["vary"] == "Origin"


@pytest.mark.parametrize("path", ["/admin/v1/fleet", "/metrics", "/docs", "/openapi.json", "/readyz", "/healthz", "/"])
def test_no_page_gets_at_what_operators_have(open_to: Stack, path: str) -> None:
    assert told(preflight(open_to, path)) == {}
    answer = open_to.http.get(f"{open_to.url}{path}", headers={"Origin": PAGE, **open_to.operator})
    assert told(answer) == {}


def test_a_question_that_is_no_preflight_is_none(open_to: Stack) -> None:
    answer = open_to.http.options(f"{open_to.url}{CHAT}", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    strange = preflight(open_to, **{"Access-Control-Request-Headers": "x; y"})
    assert "access-control-allow-headers" not in told(strange)


def test_without_the_setting_no_page_is_told_anything(stack: Stack) -> None:
    assert preflight(stack).status_code == 405
    answer = stack.post(CHAT, BODY, headers={"Origin": PAGE})
    assert (answer.status_code, told(answer)) == (200, {})
    assert "vary" not in answer.headers


def test_a_star_lists_every_page(house: House) -> None:
    with run_gateway(house, [], cors_origins=["*"], waits=False) as stack:
        assert told(preflight(stack, origin=OTHER))["access-control-allow-origin"] == "*"
        answer = stack.post(CHAT, BODY, "sk-unknown", {"Origin": OTHER})
        assert told(answer)["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", []),
        (f"{PAGE}, http://localhost:5173", [PAGE, "http://localhost:5173"]),
        (f'["{PAGE.upper()}/"]', [PAGE]),
        ("*", ["*"]),
        ("tauri://localhost,chrome-extension://abcdef", ["tauri://localhost", "chrome-extension://abcdef"]),
    ],
)
def test_origins_are_given_as_people_write_them(monkeypatch: pytest.MonkeyPatch, given: str, meant: list[str]) -> None:
    monkeypatch.setenv("SWITCHYARD_CORS_ORIGINS", given)
    assert GatewaySettings().cors_origins == meant


@pytest.mark.parametrize("given", ["app.example.com", f"{PAGE}/path", "null", "https://*.example.com", f"{PAGE}?x"])
def test_what_is_no_origin_is_said(given: str) -> None:
    with pytest.raises(ValidationError, match="is no origin"):
        GatewaySettings(cors_origins=[given])
