"""Who gets into the dashboard, and how."""

from __future__ import annotations

import json

import httpx
import pytest

from dashboard.faults import LoggedOut
from dashboard.sessions import MOST_SESSIONS, Person, Sessions
from gateway.admin_key import admin_key
from tests.support.dashboard_parts import Visitor, dashboard_of, seen
from tests.support.stack import Stack

ANN = Person("ann", "operate", "sk-admin-of-ann")


def link_of(visitor: Visitor, key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return visitor.http.post(f"{visitor.url}/login-links", headers=headers)


def test_who_is_not_logged_in_sees_the_form_and_comes_back_to_where_he_wanted(visitor: Visitor, stack: Stack) -> None:
    answer = visitor.get("/?window=6h")
    assert "Log in" in seen(answer.text)
    assert answer.url.path == "/login"
    assert 'name="to" value="/?window=6h"' in answer.text
    done = visitor.post("/login", {"key": admin_key(stack.house.settings), "to": "/?window=6h"})
    assert (done.status_code, done.headers["location"]) == (303, "/?window=6h")


def test_a_login_goes_on_to_no_other_host(visitor: Visitor, stack: Stack) -> None:
    for to in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        done = visitor.post("/login", {"key": admin_key(stack.house.settings), "to": to})
        assert done.headers["location"] == "/"


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(visitor: Visitor, stack: Stack) -> None:
    done = visitor.log_in(admin_key(stack.house.settings))
    cookie = done.headers["set-cookie"]
    assert cookie.startswith("switchyard=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert admin_key(stack.house.settings) not in cookie
    over_https = visitor.http.post(
        f"{visitor.url}/login",
        data={"key": admin_key(stack.house.settings)},
        headers={"sec-fetch-site": "same-origin", "x-forwarded-proto": "https"},
    )
    assert over_https.headers["set-cookie"].startswith("__Host-switchyard=")
    assert "Secure" in over_https.headers["set-cookie"]


def test_the_operators_key_is_in_no_page(operator: Visitor, stack: Stack) -> None:
    assert admin_key(stack.house.settings) not in operator.page("/")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "This is no key"),
        ("sk-admin-with a space", "This is no key"),
        ("sk-admin-" + "x" * 40, "not the operator's key"),
        ("<script>alert(1)</script>", "not the operator's key"),
    ],
)
def test_a_wrong_key_is_one_sentence_and_no_session(visitor: Visitor, key: str, said: str) -> None:
    answer = visitor.log_in(key)
    assert answer.status_code == 401
    assert said in seen(answer.text)
    assert "set-cookie" not in answer.headers
    assert "<script>alert" not in answer.text


def test_a_tenants_key_is_told_that_it_is_one(visitor: Visitor, stack: Stack) -> None:
    answer = visitor.log_in(stack.house.keys["acme"])
    assert answer.status_code in (303, 401)
    if answer.status_code == 401:
        assert "This is a tenant's key." in seen(answer.text)


def test_a_link_logs_in_once(visitor: Visitor, stack: Stack) -> None:
    url = link_of(visitor, admin_key(stack.house.settings)).json()["url"]
    looked_ahead = visitor.http.get(url, headers={"sec-purpose": "prefetch"})
    assert looked_ahead.status_code == 204
    assert visitor.http.head(url).status_code == 204
    entered = visitor.http.get(url)
    assert entered.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/"' in entered.text
    assert "Overview" in visitor.page("/")
    visitor.http.cookies.clear()
    again = visitor.http.get(url)
    assert again.status_code == 401
    assert "This link has been used" in seen(again.text)
    assert "switchyard dashboard link" in again.text


def test_a_link_is_made_for_nobody_without_a_key(visitor: Visitor) -> None:
    for key in ("", "sk-admin-" + "x" * 40):
        answer = link_of(visitor, key)
        assert answer.status_code == 401
        assert answer.json()["error"]["message"]


def test_logging_out_ends_the_session_here_too(operator: Visitor) -> None:
    cookies = dict(operator.http.cookies)
    assert operator.post("/logout").headers["location"] == "/login"
    operator.http.cookies.update(cookies)
    assert operator.get("/").url.path == "/login"


def test_a_session_of_a_key_that_the_gateway_knows_no_more_ends(stack: Stack) -> None:
    with dashboard_of(stack.url) as visitor:
        visitor.become(ANN)
        assert visitor.get("/~live").status_code == 401
        visitor.become(ANN)
        assert visitor.get("/?window=6h").url.path == "/login"
        assert visitor.sessions.find(visitor.http.cookies["switchyard"]) is None


def test_sessions_end_when_nobody_comes_and_links_when_nobody_uses_them() -> None:
    now = [0.0]
    sessions = Sessions(100.0, 10.0, lambda: now[0])
    name, token, late = sessions.begin(ANN), sessions.make_link(ANN), sessions.make_link(ANN)
    now[0] = 5.0
    assert sessions.use_link(token) == ANN
    assert sessions.use_link(token) is None
    now[0] = 10.0
    assert sessions.use_link(late) is None
    now[0] = 90.0
    assert sessions.find(name) is not None
    now[0] = 189.0
    assert sessions.find(name) is not None, "it lives on from each page"
    now[0] = 289.0
    assert sessions.find(name) is None


def test_there_are_no_more_sessions_than_the_process_has_room_for() -> None:
    sessions = Sessions(100.0, 10.0)
    names = [sessions.begin(ANN) for _ in range(MOST_SESSIONS + 5)]
    assert sessions.find(names[0]) is None
    assert sessions.find(names[-1]) is not None


def test_a_persons_key_is_in_no_log() -> None:
    assert ANN.key not in repr(ANN)
    assert ANN.key not in json.dumps(str(LoggedOut("x")))
