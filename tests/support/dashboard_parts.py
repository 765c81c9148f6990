"""The dashboard of a stack on a real socket, and somebody with a browser's manners before it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette

from dashboard.app import make_app
from dashboard.pages import PAGES
from dashboard.sessions import Person, Sessions
from dashboard.settings import DashboardSettings
from dashboard.web import Page
from loadtest.ports import free_port
from tests.support.waiting import DEADLINE_S, wait_until


@dataclass
class Visitor:
    """A browser without a window: it keeps cookies and says of its forms where they come from."""

    url: str
    http: httpx.Client
    sessions: Sessions

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page, as the browser shows it: redirects are followed."""
        return self.http.get(f"{self.url}{path}", headers=headers, follow_redirects=True)

    def page(self, path: str) -> str:
        """The text of a page that must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, path: str, fields: dict[str, str] | None = None, site: str = "same-origin") -> httpx.Response:
        """A form of a page from `site`, sent; a redirect is not followed."""
        headers = {"sec-fetch-site": site, "referer": f"{self.url}/"}
        return self.http.post(f"{self.url}{path}", data=fields or {}, headers=headers)

    def log_in(self, key: str) -> httpx.Response:
        """By the form."""
        return self.post("/login", {"key": key})

    def become(self, person: Person) -> None:
        """Log in as somebody, without asking the gateway who that is."""
        self.http.cookies.set("switchyard", self.sessions.begin(person))


def seen(html: str) -> str:
    """What a person reads of a page: no tags, one space where there is any."""
    return " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]+>", " ", html, flags=re.S)).split())


@contextmanager
def serving(app: Starlette, port: int) -> Iterator[str]:
    """An application under uvicorn in a thread; the value is its URL."""
    config = uvicorn.Config(app, port=port, access_log=False, log_level="error", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="dashboard", daemon=True)
    thread.start()
    try:
        wait_until("the dashboard to start", lambda: server.started or not thread.is_alive())
        assert server.started, "the dashboard ended while it started"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "the dashboard does not stop"


@contextmanager
def dashboard_of(
    admin_url: str, pages: Sequence[Page] = PAGES, *templates: Path, **settings: object
) -> Iterator[Visitor]:
    """A dashboard before a gateway, and a visitor who is not logged in."""
    port = free_port()
    configured = DashboardSettings(dashboard_admin_url=admin_url, dashboard_port=port).model_copy(update=settings)
    app = make_app(configured, pages, *templates)
    with serving(app, port) as url, httpx.Client(timeout=30, trust_env=False) as http:
        yield Visitor(url, http, app.state.dashboard.sessions)
