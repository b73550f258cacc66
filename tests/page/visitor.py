"""What a visitor of the page does, as often as it takes."""

from __future__ import annotations

from playwright.sync_api import TimeoutError


def wait_for_chart(page, series, timeout_ms=None):
    """timeout_ms: None for that of the page."""
    page.wait_for_function(
        "name => document.getElementById('chart').getAttribute('aria-label').startsWith(`Chart of ${name}:`)",
        arg=f"name of {series}",
        timeout=timeout_ms,
    )


def choose(page, series):
    """The worst come first, so that a row may become another's under the pointer: then once more."""
    for _ in range(3):
        page.locator(".row", has_text=f"name of {series}").first.click()
        try:
            return wait_for_chart(page, series, timeout_ms=5_000)
        except TimeoutError:
            continue
    wait_for_chart(page, series)
