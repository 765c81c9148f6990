"""The dashboard in a real browser: logs in, keeps itself up to date, asks before it orders, fits a telephone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboard.pages import PAGES
from gateway.admin_key import admin_key
from tests.support.browser import needs_chromium, running_browser
from tests.support.dashboard_parts import Visitor, dashboard_of
from tests.support.stack import Stack

pytestmark = needs_chromium
WIDTHS = (1280, 390)
LIVE_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def shown(shared_stack: Stack) -> Iterator[Visitor]:
    """The dashboard of the stack, for all tests of this file."""
    with dashboard_of(shared_stack.url) as visitor:
        yield visitor


@pytest.fixture
def page(browser: Browser, shown: Visitor) -> Iterator[Page]:
    """A window of somebody new, whose console must stay empty: what the security policy stops is told there."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert [one for one in said if "Failed to load resource" not in one] == []


def log_in(page: Page, shown: Visitor, stack: Stack) -> None:
    page.goto(shown.url)
    page.get_by_label("Your key").fill(admin_key(stack.house.settings))
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_a_login_link_opens_the_overview(page: Page, shown: Visitor, stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {admin_key(stack.house.settings)}"}
    url = shown.http.post(f"{shown.url}/login-links", headers=headers).json()["url"]
    page.goto(url)
    page.wait_for_url(f"{shown.url}/")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_an_engine_is_drained_after_a_question_and_resumed(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Fleet").click()
    page.locator("summary", has_text="Drain").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("No new requests go to")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert stack.house.registry.drains.all() == {}
    page.locator("summary", has_text="Drain").click()
    dialog.get_by_label("Reason").fill("a new driver")
    dialog.get_by_role("button", name="Drain").click()
    expect(page.get_by_text("gets no new requests")).to_be_visible()
    expect(page.get_by_text("a new driver")).to_be_visible()
    page.locator("summary", has_text="Resume").click()
    dialog.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("takes traffic again.")).to_be_visible()
    stack.wait_ready()


def test_a_page_keeps_itself_up_to_date_without_being_loaded_again(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    page.goto(f"{shown.url}/fleet")
    page.evaluate("window.sameDocument = true")
    stack.house.registry.drains.order(stack.engine.url, actor="elsewhere", reason="by somebody else")
    expect(page.get_by_text("by somebody else")).to_be_visible(timeout=LIVE_MS)
    assert page.evaluate("window.sameDocument")
    stack.house.registry.drains.lift(stack.engine.url)
    expect(page.get_by_text("by somebody else")).to_have_count(0, timeout=LIVE_MS)
    stack.wait_ready()


def test_a_gateway_that_is_away_is_told_with_the_time_since_when(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    page.route("**/~live*", lambda route: route.fulfill(status=502, body="The gateway does not answer."))
    state = page.get_by_role("status").filter(has_text="Not reached since")
    expect(state).to_contain_text("The gateway does not answer.", timeout=LIVE_MS)
    page.unroute("**/~live*")
    expect(page.locator("#live-state")).to_have_text("Live", timeout=LIVE_MS)


@pytest.mark.parametrize(
    ("after_s", "waits"),
    [(["0"] * 4, ["5", "7.5", "11.25", "15"]), (["300", "0", "300", "300"], ["5", "7.5", "11.25", "300"])],
)
def test_what_does_not_change_or_takes_the_gateway_long_is_asked_for_less_often(
    page: Page, shown: Visitor, stack: Stack, after_s: list[str], waits: list[str]
) -> None:
    log_in(page, shown, stack)
    said = iter(after_s)
    answer = "<p>The same</p>"
    page.route("**/~live*", lambda route: route.fulfill(body=answer, headers={"live-after-s": next(said)}))
    page.clock.install()
    page.goto(f"{shown.url}/fleet")
    part = page.locator("[data-live]")
    wait = "5"
    for following in waits:
        expect(part).to_have_attribute("data-wait-s", wait)
        page.clock.fast_forward(round(float(wait) * 1000))
        expect(part).to_have_text("The same")
        wait = following
    expect(part).to_have_attribute("data-wait-s", wait)


def test_parts_of_a_page_share_what_it_may_have_the_gateway_work(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    page.route("**/~live*", lambda route: route.fulfill(body="<p>Here</p>", headers={"live-after-s": "400"}))
    page.goto(f"{shown.url}/cost")
    for part in page.locator("[data-live]").all():
        expect(part).to_have_attribute("data-wait-s", "800")


def test_every_page_fits_both_widths_and_both_themes(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    for one in PAGES:
        if "operate" not in one.roles:
            continue
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(shown.url + one.path)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{one.path} is {wide} px wide in a window of {width} px"
            expect(page.locator("h1")).to_have_count(1)


def test_the_menu_of_a_narrow_window_opens_and_leads_on(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    page.set_viewport_size({"width": 390, "height": 800})
    menu = page.get_by_role("navigation", name="All pages")
    expect(menu).to_be_hidden()
    page.locator(".menu summary").click()
    menu.get_by_role("link", name="Fleet").click()
    expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_visible()


def test_the_keyboard_reaches_the_content_and_the_theme_is_kept(page: Page, shown: Visitor, stack: Stack) -> None:
    log_in(page, shown, stack)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    before = page.evaluate("getComputedStyle(document.body).color")
    page.get_by_role("button", name="Dark").first.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).color") != before
