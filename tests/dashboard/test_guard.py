"""What the dashboard lets a browser do, and whose orders it takes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.faults import Invalid
from dashboard.hosts import is_ours
from dashboard.sessions import Person
from dashboard.settings import DashboardSettings
from dashboard.web import Page, done
from gateway.access_settings import AccessSettings
from gateway.admin_key import admin_key
from gateway.api.hosts import Hosts
from tests.dashboard.sample import PAGE as SAMPLE
from tests.dashboard.sample import TEMPLATES
from tests.support.dashboard_parts import Visitor, dashboard_of, seen
from tests.support.stack import Stack


async def obey(request: Request) -> Response:
    return done(request, "/components", "It is drained <now>.")


async def refuse(request: Request) -> Response:
    raise Invalid("url is 'x'; expected http://host:port", "Write it so.", field="url")


async def fail(request: Request) -> Response:
    raise RuntimeError("a secret of the process")


ORDERS = Page(
    "/orders",
    "Orders",
    "log",
    [
        Route("/drain", obey, methods=["POST"]),
        Route("/refuse", refuse, methods=["POST"]),
        Route("/fail", fail),
    ],
)


@pytest.fixture
def operated(stack: Stack) -> Iterator[Visitor]:
    """Who may order, before pages of the tests' own."""
    with dashboard_of(stack.url, [SAMPLE, ORDERS], TEMPLATES) as visitor:
        visitor.log_in(admin_key(stack.house.settings))
        yield visitor


def test_no_page_lets_a_browser_run_or_load_what_is_not_ours(visitor: Visitor) -> None:
    for path in ("/login", "/static/style.css", "/nowhere", "/"):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_have_no_inline_script_or_style_and_load_nothing_from_elsewhere(operated: Visitor) -> None:
    whole = operated.page("/components")
    operated.post("/logout")
    for text in (whole, operated.page("/login")):
        assert " style=" not in text
        assert "<style" not in text
        assert "onclick" not in text
        assert 'src="http' not in text
        assert 'href="http' not in text
        for script in text.split("<script")[1:]:
            assert 'src="/static/' in script.partition(">")[0]


def test_pages_are_kept_by_nobody_and_files_for_ever(operated: Visitor) -> None:
    page = operated.get("/components")
    assert page.headers["cache-control"] == "no-store"
    named = page.text.partition('href="/static/style.css')[2].partition('"')[0]
    file = operated.get(f"/static/style.css{named}")
    assert "immutable" in file.headers["cache-control"]
    assert operated.get("/static/style.css").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_an_order_of_another_site_is_refused(operated: Visitor, site: str) -> None:
    answer = operated.post("/drain", site=site)
    assert answer.status_code == 403
    assert "does not come from a page of the dashboard" in answer.text


def test_an_order_of_an_old_browser_is_known_by_its_origin(operated: Visitor) -> None:
    def order(headers: dict[str, str]) -> int:
        return operated.http.post(f"{operated.url}/drain", headers=headers).status_code

    assert order({"origin": operated.url}) == 303
    assert order({"origin": "http://evil.example"}) == 403
    assert order({"origin": "null"}) == 403
    assert order({}) == 403


def test_a_form_that_is_too_long_is_refused_before_it_is_read(operated: Visitor) -> None:
    assert operated.post("/drain", {"reason": "x" * 2_000_000}).status_code == 413


def test_an_order_is_answered_by_its_page_which_says_once_what_was_done(operated: Visitor) -> None:
    assert operated.post("/drain").headers["location"] == "/components"
    first = operated.page("/components")
    assert "It is drained <now>." in seen(first)
    assert "<now>" not in first, "what others have named is data"
    assert "It is drained" not in operated.page("/components")


def test_an_order_that_the_gateway_refuses_is_told_where_it_was_given(operated: Visitor) -> None:
    answer = operated.http.post(
        f"{operated.url}/refuse",
        headers={"sec-fetch-site": "same-origin", "referer": f"{operated.url}/components?sort=name"},
    )
    assert answer.headers["location"] == "/components?sort=name"
    text = seen(operated.page("/components"))
    assert "url is 'x'; expected http://host:port Write it so." in text


def test_who_may_only_read_gets_no_order_through(stack: Stack) -> None:
    with dashboard_of(stack.url, [SAMPLE, ORDERS], TEMPLATES) as visitor:
        reader = Person("rea", "read", admin_key(stack.house.settings))
        visitor.become(reader)
        assert "Log out" in seen(visitor.page("/components"))
        answer = visitor.post("/drain")
        assert answer.status_code == 403
        assert "rea may look, and order nothing: the role of this key is `read`." in seen(answer.text)
        assert visitor.post("/logout").status_code == 303


def test_a_tenant_sees_none_of_the_operators_pages(stack: Stack) -> None:
    with dashboard_of(stack.url, [SAMPLE, ORDERS], TEMPLATES) as visitor:
        visitor.become(Person("acme", "tenant", stack.house.keys["acme"]))
        answer = visitor.get("/components")
        assert answer.status_code == 403
        assert "This is an operator's page" in seen(answer.text)
        assert "To your models" in seen(answer.text)
        assert "To the overview" not in seen(answer.text)
        assert visitor.post("/drain").status_code == 403


def test_a_part_of_a_page_says_in_a_line_that_nobody_is_logged_in(visitor: Visitor) -> None:
    answer = visitor.get("/~live")
    assert (answer.status_code, answer.text) == (401, "Nobody is logged in.")


def test_a_mistake_of_ours_is_one_pages_and_tells_nothing_of_the_process(operated: Visitor) -> None:
    answer = operated.get("/fail")
    assert answer.status_code == 500
    assert "could not make this page" in seen(answer.text)
    assert "a secret of the process" not in answer.text
    assert "content-security-policy" in answer.headers
    assert operated.get("/components").status_code == 200


def test_an_address_that_no_page_has_is_a_page_that_says_so(operated: Visitor) -> None:
    answer = operated.get("/nowhere")
    assert answer.status_code == 404
    assert "The dashboard has no page /nowhere." in seen(answer.text)


def test_there_is_no_web_socket_to_come_in_by(operated: Visitor) -> None:
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    with httpx.Client(trust_env=False) as http:
        assert http.get(f"{operated.url}/", headers=headers).status_code in (303, 400, 403)


def test_the_theme_is_kept_and_needs_no_login(visitor: Visitor) -> None:
    done_ = visitor.post("/theme", {"theme": "dark", "to": "/login"})
    assert (done_.status_code, done_.headers["location"]) == (303, "/login")
    assert 'data-theme="dark"' in visitor.page("/login")
    visitor.post("/theme", {"theme": "purple"})
    assert 'data-theme="auto"' in visitor.page("/login")


def test_nothing_is_answered_under_a_name_that_may_be_a_strangers(visitor: Visitor) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example:8003", "localhost@evil.example", ""):
        for path in ("/login", "/login/", "/static/style.css", "/static", "/healthz", "/"):
            answer = visitor.http.get(f"{visitor.url}{path}", headers={"host": host})
            assert answer.status_code == 421
    for host in ("127.0.0.1", "localhost:8003", "[::1]", "dashboard"):
        assert visitor.http.get(f"{visitor.url}/login", headers={"host": host}).status_code == 200


def test_names_that_are_listed_are_answered() -> None:
    allowed = ["llm.example.com", "*.example.org"]
    assert is_ours(["LLM.example.com:443"], allowed)
    assert is_ours(["a.b.example.org"], allowed)
    assert is_ours(["anything.example"], ["*"])
    assert not is_ours(["example.org"], allowed)
    assert not is_ours(["x.llm.example.com"], allowed)
    assert not is_ours(["127.0.0.1", "127.0.0.1"], ["*"])


def test_a_slash_too_many_sends_nobody_to_another_host(visitor: Visitor) -> None:
    answer = visitor.http.get(f"{visitor.url}/login/", headers={"host": "evil"})
    assert "evil" not in answer.headers.get("location", "")


def test_a_key_for_a_link_comes_once(visitor: Visitor, stack: Stack) -> None:
    key = admin_key(stack.house.settings)
    headers = [("authorization", f"Bearer {key}")]
    assert httpx.post(f"{visitor.url}/login-links", headers=headers).status_code == 201
    assert httpx.post(f"{visitor.url}/login-links", headers=headers * 2).status_code == 400


@pytest.mark.parametrize("allowed", [[], ["llm.example.com"], ["*.example.com"]], ids=str)
@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost:80",
            "a.localhost",
            "10.0.0.1:8003",
            "[::1]:1",
            "gateway",
            "llm.example.com",
            "LLM.example.com.:443",
        ),
        *("x.llm.example.com", "example.com", "evil.com", "evilexample.com", "1.2.3", "a b", "", "a@b", "x:123456"),
    ],
)
def test_the_dashboard_and_the_gateway_judge_names_alike(host: str, allowed: list[str]) -> None:
    """The dashboard imports none of ours, so the rule stands twice."""
    scope = {"server": ("127.0.0.1", 8002), "headers": [(b"host", host.encode())]}
    assert is_ours([host], allowed) is (Hosts(allowed, 8002).refusal(scope) is None)


LISTS = [
    "",
    "LLM.example.com.",
    " a.example.com, *.example.org,",
    '["a.example.com", "*"]',
    " [] ",
    "a b",
    "[1]",
    '["a"',
]


def names_or_fault(settings: type[AccessSettings] | type[DashboardSettings], field: str) -> object:
    try:
        return getattr(settings(), field)
    except ValidationError as error:
        return [one["msg"] for one in error.errors()]


@pytest.mark.parametrize("given", LISTS)
def test_names_are_read_from_settings_as_the_gateway_reads_them(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """Likewise."""
    monkeypatch.setenv("SWITCHYARD_ALLOWED_HOSTS", given)
    monkeypatch.setenv("SWITCHYARD_DASHBOARD_ALLOWED_HOSTS", given)
    here = names_or_fault(DashboardSettings, "dashboard_allowed_hosts")
    assert here == names_or_fault(AccessSettings, "allowed_hosts")
