"""Somebody who means harm before the dashboard: with no key, a tenant's, one that may only look, or with a page of
his own that an operator visits.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.pages import PAGES
from dashboard.sessions import MOST_LINKS, MOST_OF_A_KEY, Person, Sessions
from dashboard.web import Page
from gateway.admin_key import admin_key
from registry.training.jobs import JobOrder
from tests.support.admin_calls import Admin
from tests.support.dashboard_parts import Visitor, dashboard_of, seen
from tests.support.stack import BASE, Stack, open_house, run_stack
from tests.support.training_jobs import chat_rows

EVIL = "\"'><img src=x onerror=alert(1)>{{7*7}}</script>"
LONG = "x" * 6_000
ODD = (LONG, "%00", "%ff%fe", "%0d%0aset-cookie:a=b", "٣", "-1", "9" * 40, "../../login", "<script>", "%F0%9F%92%A9")


def orders() -> list[str]:
    """Addresses that take an order, of all pages."""
    routes = [route for page in PAGES for route in page.routes if isinstance(route, Route)]
    return sorted(
        {
            re.sub(r"{\w+:int}", "1", re.sub(r"{\w+}", "acme", one.path))
            for one in routes
            if "POST" in (one.methods or ())
        }
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway of its own, with tenants and adapters that are called as parts of addresses are."""
    with open_house(tmp_path_factory.mktemp("attacked")) as house:
        for tenant in ("acme", "globex", "live", "find"):
            house.tenant(tenant)
        house.publish("acme/live")
        house.publish("live/live")
        house.point("acme/live", "1.0")
        with run_stack(house) as stack:
            yield stack


@pytest.mark.parametrize("role", ["read", "tenant"])
def test_no_form_of_any_page_gets_an_order_of_who_may_give_none_to_the_gateway(
    stack: Stack, visitor: Visitor, role: str
) -> None:
    key = admin_key(stack.house.settings)  # which would do everything
    visitor.become(Person("rea", role, key))  # type: ignore[arg-type]
    admin = Admin(stack.house, stack.url, stack.http)
    before = admin.get("/audit", limit=1)["entries"]
    assert len(orders()) >= 20
    for path in orders():
        assert visitor.post(path, {"actor": "root", "name": "x"}).status_code == 403, path
        for method in ("PUT", "PATCH", "DELETE"):
            headers = {"sec-fetch-site": "same-origin"}
            assert visitor.http.request(method, visitor.url + path, headers=headers).status_code == 403, path
    assert admin.get("/audit", limit=1)["entries"] == before


def test_no_page_of_others_orders_anything_in_the_name_of_who_is_logged_in(stack: Stack, operator: Visitor) -> None:
    admin = Admin(stack.house, stack.url, stack.http)
    before = admin.get("/audit", limit=1)["entries"]
    for path in [*orders(), "/logout", "/theme", "/login"]:
        for site in ("cross-site", "same-site", "none"):
            assert operator.post(path, site=site).status_code == 403, path
        evil = {"origin": "http://127.0.0.1:1", "referer": f"{operator.url}/"}
        assert operator.http.post(operator.url + path, headers=evil).status_code == 403, path
    assert admin.get("/audit", limit=1)["entries"] == before
    assert "Log out" in seen(operator.page("/"))


def test_a_link_on_a_page_of_others_logs_nobody_in_who_has_not_said_so(stack: Stack, visitor: Visitor) -> None:
    headers = {"Authorization": f"Bearer {stack.house.keys['globex']}"}
    url = visitor.http.post(f"{visitor.url}/login-links", headers=headers).json()["url"]
    path = url.removeprefix(visitor.url)
    for site in ("cross-site", "same-site"):
        asked = visitor.http.get(url, headers={"sec-fetch-site": site})
        assert "set-cookie" not in asked.headers
        assert "Log in as globex? Another page has sent you here" in seen(asked.text)
    assert visitor.post(path, site="cross-site").status_code == 403
    assert "set-cookie" in visitor.post(path).headers, "who says that it is his goes on"
    assert visitor.http.get(url).status_code == 401, "once"
    assert visitor.post(path).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "..%2f..%2flogin", "%00", LONG])
def test_a_link_that_was_made_up_opens_nothing(visitor: Visitor, token: str) -> None:
    answer = visitor.http.get(f"{visitor.url}/enter/{token}")
    assert answer.status_code in (303, 401, 404)
    assert "set-cookie" not in answer.headers


def test_a_session_that_somebody_else_has_chosen_is_none_and_a_login_ends_the_one_before(
    stack: Stack, visitor: Visitor
) -> None:
    visitor.http.cookies.set("switchyard", "chosen", domain="127.0.0.1", path="/")
    visitor.log_in(stack.house.keys["globex"])
    first = visitor.http.cookies["switchyard"]
    assert first != "chosen"
    visitor.log_in(admin_key(stack.house.settings))
    assert visitor.http.cookies["switchyard"] != first
    assert visitor.sessions.find(first) is None


def test_who_logs_in_without_end_ends_nobody_elses_session_or_link() -> None:
    sessions = Sessions(100.0, 10.0, lambda: 0.0)
    ann, eve = Person("ann", "operate", "sk-ann"), Person("eve", "tenant", "sk-eve")
    session, link = sessions.begin(ann), sessions.make_link(ann)
    mine = [(sessions.begin(eve), sessions.make_link(eve)) for _ in range(2_000)]
    assert sessions.find(session) is not None
    assert sessions.look_at_link(link) == ann
    assert sum(sessions.find(one) is not None for one, _ in mine) == MOST_OF_A_KEY
    assert sum(sessions.use_link(one) is not None for _, one in mine) == MOST_OF_A_KEY < MOST_LINKS


def test_a_tenants_key_shows_that_tenant_alone(stack: Stack, visitor: Visitor) -> None:
    registry = stack.house.registry
    registry.model_names.map("acme", "secret-model-of-acme", "live")
    visitor.log_in(stack.house.keys["globex"])
    for path in ("/portal", "/portal?tenant=acme", "/portal/~live?tenant=acme&key=acme"):
        assert "acme" not in seen(visitor.page(path))
    for page in PAGES:
        if "tenant" not in page.roles and page.path != "/":
            assert visitor.get(page.path).status_code == 403
    assert visitor.get("/tenants/acme").status_code == 403


def test_what_tenants_and_adapters_are_called_takes_no_page_of_others(operator: Visitor) -> None:
    for path, title in (("/tenants/live", "live"), ("/tenants/find", "find"), ("/adapters/acme/live", "acme/live")):
        page = operator.page(path)
        assert f"<h1>{title}" in page
        assert f'data-live="{path}/~live' in page
        assert "<html" not in operator.page(f"{path}/~live")


def test_no_word_of_a_tenant_is_more_than_text_on_any_page(stack: Stack, operator: Visitor) -> None:
    registry = stack.house.registry
    file = registry.files.create("acme", f"{EVIL}.jsonl", "fine-tune", [chat_rows(12).encode()])
    job = registry.training.create(
        JobOrder(
            tenant="acme", model=EVIL, base=BASE, training_file=file.id, suffix=EVIL, metadata={EVIL: EVIL},
            hyperparameters={"n_epochs": 1},
        )
    )  # fmt: skip
    registry.model_names.map("acme", EVIL[:60], "live")
    registry.tenants.create_key("acme", label=EVIL[:60])
    Admin(stack.house, stack.url, stack.http).refused(
        "POST", "/quarantine", json={"version": "acme/none@1.0", "reason": EVIL}
    )
    paths = ["/", "/fleet", "/adapters", "/adapters/acme/live", "/experiments", "/training", f"/training/{job.id}"]
    paths += ["/training/files?tenant=acme", "/tenants", "/tenants/acme", "/audit", f"/audit?actor={quote(EVIL)}"]
    paths += [f"/adapters?q={quote(EVIL)}", f"/training?tenant={quote(EVIL)}", f"/fleet?tenant={quote(EVIL)}"]
    shown = 0
    for path in paths:
        text = operator.get(path).text
        shown += "onerror=alert(1)" in text
        assert "<img src=x" not in text, path
        assert "49</script>" not in text, path
    assert shown > 5, "they were to be seen"
    operator.post("/logout")
    operator.log_in(stack.house.keys["acme"])
    assert "<img src=x" not in operator.page("/portal")


@pytest.mark.parametrize("odd", ODD)
def test_no_address_however_odd_is_a_mistake_of_ours(operator: Visitor, odd: str) -> None:
    for page in PAGES:
        if "operate" in page.roles:
            for name in ("q", "tenant", "after", "page", "sort", "window", "by", "from", "actor", "to"):
                answer = operator.http.get(f"{operator.url}{page.path}?{name}={odd}")
                assert answer.status_code < 500, f"{page.path}?{name}"
                assert "set-cookie" not in answer.headers
    for path in (f"/tenants/{odd}", f"/adapters/{odd}/{odd}", f"/training/{odd}", f"/experiments/{odd}", f"/{odd}"):
        assert operator.http.get(operator.url + path).status_code < 500, path


@pytest.mark.parametrize("to", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_nobodys_link_sends_a_person_elsewhere(operator: Visitor, to: str) -> None:
    for answer in (
        operator.post("/theme", {"theme": "dark", "to": to}),
        operator.http.get(f"{operator.url}/login", params={"to": to}),
        operator.http.get(f"{operator.url}/tenants/~find", params={"name": to}),
    ):
        assert re.match(r"/(?![/\\])", answer.headers["location"])


def test_what_is_kept_for_long_is_shown_to_nobody_whose_key_is_over(stack: Stack, visitor: Visitor) -> None:
    admin = Admin(stack.house, stack.url, stack.http)
    key = admin.post("/operators", name="eve", role="read")
    visitor.log_in(key["secret"])
    assert "Charged" in visitor.page("/cost/report/~live")
    admin.ask("DELETE", f"/operators/{key['id']}")
    assert visitor.get("/cost/report/~live").status_code == 401


async def fail(_: Request) -> Response:
    raise RuntimeError("torn")


def test_an_address_writes_no_line_of_the_log(stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
    torn = Page("/torn", "Torn", "log", [Route("/torn/{name}", fail)])
    with dashboard_of(stack.url, [torn]) as visitor, caplog.at_level(logging.ERROR, "dashboard"):
        visitor.log_in(admin_key(stack.house.settings))
        assert visitor.get("/torn/a%0aCRITICAL forged").status_code == 500
    assert any("forged" in record.getMessage() for record in caplog.records)
    assert not any("\n" in record.getMessage() for record in caplog.records)
