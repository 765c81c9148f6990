"""Pictures of every page, in both themes and both widths: `python -m tests.dashboard.screenshots [PAGE …]`.

They go to docs/screenshots, with a seeded installation behind them. A page of its own address that is not in the
navigation has a line in `MORE`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from dashboard.pages import PAGES
from gateway.admin_key import admin_key
from tests.dashboard.seeded import seeded
from tests.dashboard.seeded_experiment import BALLOT
from tests.support.browser import running_browser
from tests.support.dashboard_parts import Visitor, dashboard_of

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
THEMES = ("light", "dark")
WIDTHS = {1280: 800, 390: 844}
"""Width to height of the window, in pixels; a picture is as long as its page."""
PLAYGROUND, WAIT_MS = "playground", 60_000
MORE: dict[str, str] = {
    "adapter": "/adapters/acme/triage",
    "adapter-version": "/adapters/acme/triage/versions/1.0",
    "adapter-swap": "/adapters/acme/triage/swaps/10",
    PLAYGROUND: "/adapters/acme/triage/playground",
    "tenant": "/tenants/acme",
    "training-job": "/training/jobs/{job}",
    "training-files": "/training/files?tenant=acme",
    "experiment": "/experiments/1",
    "experiment-new": "/experiments/new?adapter=acme/replies&treatments=1.2",
    "blind-vote": f"/experiments/votes/acme/{BALLOT}/vote?voter=ann",
    "blind-votes": f"/experiments/votes/acme/{BALLOT}",
}
"""Name of a picture → address; `{job}` is the newest one."""
LATE = "[data-late='']"
"""A part that takes longer than its page, and is not there yet."""


def addresses() -> dict[str, str]:
    """Name of a picture → address, of the operator's pages."""
    named = {page.title.lower().replace(" ", "-"): page.path for page in PAGES if "operate" in page.roles}
    return {**named, **MORE}


def main(names: list[str]) -> None:
    """Take those of these pages, or of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = {name: path for name, path in addresses().items() if not names or name in names}
    with (
        tempfile.TemporaryDirectory() as folder,
        seeded(Path(folder)) as stack,
        dashboard_of(stack.url) as visitor,
        running_browser() as browser,
    ):
        if not names or "login" in names:
            shoot(browser, visitor, {"login": "/login"}, FOLDER)
        visitor.log_in(admin_key(stack.house.settings))
        (job,) = stack.house.registry.training.page(None, None, 1)
        shoot(browser, visitor, {name: path.format(job=job.id) for name, path in wanted.items()}, FOLDER)
        if not names or "portal" in names:
            visitor.post("/logout")
            visitor.log_in(stack.house.keys["acme"])
            shoot(browser, visitor, {"portal": "/portal"}, FOLDER)


def shoot(browser: Browser, visitor: Visitor, wanted: dict[str, str], folder: Path) -> None:
    """Pictures of these addresses, as the visitor sees them."""
    cookies = [{"name": name, "value": value, "url": visitor.url} for name, value in visitor.http.cookies.items()]
    for width, height in WIDTHS.items():
        for theme in THEMES:
            window = {"width": width, "height": height}
            context = browser.new_context(viewport=window, color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            context.add_cookies(cookies)  # type: ignore[arg-type]
            page = context.new_page()
            for name, path in wanted.items():
                page.goto(visitor.url + path, wait_until="load")
                page.wait_for_selector(LATE, state="detached")
                if name == PLAYGROUND:
                    ask_both(page)
                page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=True)
                sys.stdout.write(f"{name}-{theme}-{width}.png\n")
            context.close()


def ask_both(page: Page) -> None:
    """Two answers stand in the playground."""
    page.get_by_label("Prompt", exact=True).fill("My parcel has not come, and nobody answers the telephone.")
    page.get_by_role("button", name="Ask both").click()
    for side in ("a", "b"):
        expect(page.locator(f"[data-side={side}] [data-note]")).to_contain_text("tokens in", timeout=WAIT_MS)


if __name__ == "__main__":
    main(sys.argv[1:])
