"""The page of a real worker: killed and started again under an open page."""

from __future__ import annotations

import re

from tests.page.demo_process import DemoProcess, find_port

WAIT_MS = 240_000.0
"""For a worker to start, read its plant's past and forecast, on a busy machine."""


def wait_for_course(page):
    """Until a value stands beside what the LSTM said of it."""
    page.wait_for_function(
        "() => /value [−\\d].* LSTM [−\\d]/.test(document.getElementById('chart').ariaLabel)", timeout=WAIT_MS
    )
    return page.locator("#chart").get_attribute("aria-label")


def test_a_worker_killed_and_started_again_while_the_page_is_open(open_page, tmp_path):
    port = find_port()
    with DemoProcess(tmp_path / "first.log", port, "--series", "8") as demo:
        page = open_page(demo.url, may_fail=True)
        before = wait_for_course(page)
        page.wait_for_function("before => document.getElementById('chart').ariaLabel !== before", arg=before)
        assert re.fullmatch(r".*partitions? .*, 8 series of this worker", page.locator("#scope").inner_text())
        page.wait_for_function(
            "() => document.getElementById('sentence').textContent.includes('8 sensors')", timeout=WAIT_MS
        )
        demo.kill()
        page.wait_for_function("() => document.getElementById('link').textContent.startsWith('disconnected')")
    with DemoProcess(tmp_path / "second.log", port, "--series", "8"):
        page.wait_for_function(
            "() => document.getElementById('link').textContent.startsWith('connected')", timeout=WAIT_MS
        )
        again = wait_for_course(page)
        page.wait_for_function("again => document.getElementById('chart').ariaLabel !== again", arg=again)
