"""A real headless Chromium, and pages of it that fail a test by any error they log."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.page.staging import StageServer

NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 60_000
BY_HAND = "install it (Debian: apt install chromium) or name it in CHROMIUM"


def skip_or_fail(why: str) -> None:
    """A tier that must run (`GATECAST_REQUIRE` names it) fails instead of being skipped."""
    if "chromium" in os.environ.get("GATECAST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"no Chromium, but GATECAST_REQUIRE asks for one: {why}", pytrace=False)
    pytest.skip(f"no Chromium: {why}")


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = find_chromium()
    if program is None:
        skip_or_fail(f"none of {', '.join(NAMES)} is on the path; {BY_HAND}")
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError as error:
        skip_or_fail(f"playwright is not installed ({error}); make setup installs it")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        # Root, as in containers, gets no sandbox; pages here come from this machine alone.
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


OpenPage = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """open_page(url, width=…, height=…, scheme="light", may_fail=False): a page in a context of its own.
    Errors and warnings that it logs fail the test at its end, but for failed requests where it `may_fail`."""
    contexts, complaints = [], []

    def open_one(
        url: str, *, width: int = 1400, height: int = 900, scheme: str = "light", may_fail: bool = False
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="UTC"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)

        def hear(message: Any) -> None:
            is_lost = may_fail and message.text.startswith("Failed to load resource:")
            if message.type in ("error", "warning") and not is_lost:
                complaints.append(f"{message.type}: {message.text}")

        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def serve() -> Iterator[Callable[..., StageServer]]:
    """serve(series, **options): shards on a stage behind a real HTTP port, moving from a thread."""
    running = []

    def start(*series: str, **options: Any) -> StageServer:
        running.append(StageServer(series, **options))
        return running[-1]

    yield start
    for server in running:
        server.close()
