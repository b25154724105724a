"""Chromium, driven by Playwright: the fixture `opened` opens a file of ours, and nothing else.

A pytest plugin (`conftest.py` loads it). One browser serves a process: tests that use it are of xdist's
group `chromium`.
Whatever a page asks of any place but its file, says in the console or throws fails the test.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 300_000  # on a busy machine; nothing depends on it
_CHROMIUM = "chromium"
_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)

Open = Callable[..., "Page"]
"""Opens a file: `opened(path, hash="", width=1400)`."""


@contextmanager
def launched() -> "Iterator[Browser]":
    """The browser that is installed, until the end."""
    path = shutil.which(_CHROMIUM)
    if path is None:
        pytest.fail("Debian's package chromium is not here: scripts/install --dev installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """The browser of this process."""
    with launched() as found:
        yield found


@pytest.fixture
def opened(browser: "Browser") -> Iterator[Open]:
    """Open a file, offline; what the page asks for, says and throws is empty at the end."""
    context = browser.new_context(offline=True, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    said: list[str] = []

    def open_file(path: Path, at: str = "", width: int = 1400) -> "Page":
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.on("console", lambda message: said.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("dialog", lambda it: said.append(f"dialog: {it.message}") or it.dismiss())
        page.on("requestfailed", lambda request: said.append(f"failed: {request.url[:200]}"))
        page.route(
            lambda url: not url.startswith(("file:", "data:", "blob:")),
            lambda route: said.append(f"asked for {route.request.url[:200]}") or route.abort(),
        )
        page.goto(f"{path.resolve().as_uri()}{at}")
        page.wait_for_selector("body[data-ready]", state="attached")
        return page

    yield open_file
    context.close()
    assert said == []
