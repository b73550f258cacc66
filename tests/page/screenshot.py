"""Makes the pictures of the page in `docs/images`, from a demo that runs for a while.

python -m tests.page.screenshot --after 120
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.page.conftest import find_chromium
from tests.page.demo_process import ROOT, DemoProcess, find_port

SHOTS = (("page", 1400, 900, "light"), ("page-dark", 1400, 900, "dark"), ("page-phone", 390, 844, "light"))
SMOOTH = "flow"
"""Found in the names of series that are good to look at."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--after", type=float, default=120.0, help="seconds that the demo has run by then")
    parser.add_argument("--url", help="of a worker that runs already; left out: one is started")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.url:
        take_all(given.url, given.folder, given.after)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        DemoProcess(Path(folder) / "demo.log", find_port()) as demo,
    ):
        take_all(demo.url, given.folder, given.after)


def take_all(url: str, folder: Path, after_s: float) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.wait_for_timeout(after_s * 1000)
        page.get_by_label("Search").fill(SMOOTH)
        page.wait_for_timeout(3_000)
        series = page.locator(".row .row-id").first.text_content()
        page.close()
        for name, width, height, scheme in SHOTS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(f"{url}#series={series}")
            page.wait_for_timeout(6_000)
            page.screenshot(path=folder / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
