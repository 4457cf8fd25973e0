"""Chromium, as the tests and the pictures of the documentation drive it. No browser is ever downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE_MS = 30_000


def chromium_path() -> str | None:
    """Return the installed Chromium, or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def require_chromium() -> str:
    """Return the installed Chromium; without one a test is skipped, or fails where DLR_TEST_TOOLS=required."""
    found = chromium_path()
    if found is None:
        if os.environ.get("DLR_TEST_TOOLS") == "required":
            pytest.fail("Chromium is not installed, and DLR_TEST_TOOLS=required")
        pytest.skip("Chromium is not installed")
    return found


@contextmanager
def chromium(executable: str) -> Iterator[Browser]:
    """Run a headless Chromium with an empty profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def context_of(browser: Browser, **options: Any) -> BrowserContext:
    """Open a window with cookies of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    context.set_default_timeout(PATIENCE_MS)
    return context


def sign_in(page: Page, url: str, name: str, password: str) -> None:
    """Sign in to the worklist page, as a person does."""
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Worklist").wait_for()


def violations(page: Page) -> list[str]:
    """Run axe-core in the page; return each violation with where it is."""
    # Evaluated by the debugger and not put into the page: its CSP lets no script in.
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['target'] for node in one['nodes']][:3]}"
        for one in found["violations"]
    ]
