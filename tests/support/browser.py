"""Debian's Chromium without a window, for tests of pages: nothing is downloaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "needs Debian's chromium: apt-get install chromium"


def chromium() -> str | None:
    """Where it is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_chromium = pytest.mark.skipif(chromium() is None, reason=MISSING)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """One browser, for several contexts; each of those is somebody else."""
    path = chromium()
    assert path is not None, MISSING
    with sync_playwright() as playwright:
        # Its sandbox needs what containers do not give; what it shows here is ours.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
