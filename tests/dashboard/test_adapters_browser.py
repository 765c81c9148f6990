"""The page of adapters in a real browser: a version is promoted and taken back, and two answer side by side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from gateway.admin_key import admin_key
from tests.support.browser import needs_chromium, running_browser
from tests.support.dashboard_parts import Visitor, dashboard_of
from tests.support.stack import Stack, open_house, run_stack

pytestmark = needs_chromium
WAIT_MS = 30_000
HOME = "/adapters/acme/triage"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("shop")) as house:
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            stack.wait_resident("acme/triage@1.0")
            yield stack


@pytest.fixture
def shown(shop: Stack) -> Iterator[Visitor]:
    with dashboard_of(shop.url) as visitor:
        assert visitor.log_in(admin_key(shop.house.settings)).status_code == 303
        yield visitor


@pytest.fixture
def page(shown: Visitor) -> Iterator[Page]:
    """A window of an operator, whose console stays empty."""
    with running_browser() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        cookies = [{"name": name, "value": value, "url": shown.url} for name, value in shown.http.cookies.items()]
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page
        assert said == []


def test_a_version_is_promoted_followed_and_taken_back(page: Page, shown: Visitor) -> None:
    page.goto(f"{shown.url}/adapters")
    page.get_by_role("link", name="acme/triage").click()
    for order, number in (("Promote", "1.1"), ("Roll back", "1.0")):
        page.goto(f"{shown.url}{HOME}")
        page.locator("summary", has_text=order).first.click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Why").fill("a test")
        dialog.get_by_role("button", name=order).click()
        expect(page.get_by_text(f"production to {number}")).to_be_visible(timeout=WAIT_MS)
        expect(page.locator(".figure-value", has_text="done")).to_be_visible(timeout=WAIT_MS)


def test_two_versions_write_side_by_side(page: Page, shown: Visitor) -> None:
    page.goto(f"{shown.url}{HOME}/playground")
    page.get_by_label("Prompt", exact=True).fill("My parcel is late.")
    page.get_by_role("button", name="Ask both").click()
    for side in ("a", "b"):
        part = page.locator(f"[data-side={side}]")
        expect(part.locator("[data-note]")).to_contain_text("tokens in", timeout=WAIT_MS)
        expect(part.locator("[data-answer]")).not_to_be_empty()
        expect(part.locator("[data-fault]")).to_be_hidden()
