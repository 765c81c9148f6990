"""Experiments in a real browser: votes by single keys, and one that is stopped after a question."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.admin_key import admin_key
from registry.experiments.plan import Plan
from registry.names import parse_whole_adapter
from registry.votes.ballots import NewPair, Shown
from tests.support.browser import needs_chromium, running_browser
from tests.support.dashboard_parts import Visitor, dashboard_of
from tests.support.stack import Stack

pytestmark = needs_chromium
HERE = "/experiments/votes/acme/by-keys"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """A window of an operator who is logged in; its console must stay empty."""
    with dashboard_of(stack.url) as visitor:
        page = browser.new_context(base_url=visitor.url).new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        log_in(page, visitor, stack)
        yield page
        page.context.close()
    assert [one for one in said if "Failed to load resource" not in one] == []


def log_in(page: Page, visitor: Visitor, stack: Stack) -> None:
    page.goto(visitor.url)
    page.get_by_label("Your key").fill(admin_key(stack.house.settings))
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def test_a_person_votes_with_the_keys_1_2_and_0_and_takes_the_last_vote_back(page: Page, stack: Stack) -> None:
    registry = stack.house.registry
    pairs = [NewPair(f"p{number}", f"u{number}", "a", Shown(f"Question {number}", "one", "two")) for number in range(4)]
    registry.ballots.put_up("acme", "by-keys", ("a-model", "b-model"), pairs, actor="kim")
    page.goto(f"{HERE}/vote")
    page.get_by_label("Name").fill("ann")
    page.get_by_role("button", name="Begin").click()
    for number, key in enumerate("120"):
        expect(page.get_by_text(f"Question {number}")).to_be_visible()
        page.keyboard.press(key)
    expect(page.get_by_text("Question 3")).to_be_visible()
    assert [vote.winner for vote in registry.votes.of("acme", "by-keys")] == ["a", "b", "tie"]
    page.keyboard.press("u")
    expect(page.get_by_text("Question 2")).to_be_visible()
    assert [vote.winner for vote in registry.votes.of("acme", "by-keys")] == ["a", "b"]
    source = page.content()
    assert "a-model" not in source
    assert "b-model" not in source
    registry.ballots.take_down("acme", "by-keys")


def test_an_experiment_is_stopped_after_a_question(page: Page, stack: Stack) -> None:
    experiments = stack.house.registry.experiments
    plan = Plan.of({"treatments": ["1.2"]})
    made = experiments.create(parse_whole_adapter("acme/triage"), plan, name="in-a-browser", actor="kim", draft=True)
    page.goto(f"/experiments/{made.id}")
    page.locator("summary", has_text="Stop").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("End it without a verdict")
    dialog.get_by_label("Reason").fill("another plan")
    dialog.get_by_role("button", name="Stop it").click()
    expect(page.get_by_text("It is stopped.")).to_be_visible()
    ended = experiments.get(made.id)
    assert (ended.state, experiments.decisions(made.id)[-1].reason) == ("stopped", "another plan")
