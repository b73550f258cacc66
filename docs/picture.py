"""Makes the README's picture: the live page of a demo that has run for a while, in headless Chromium.

    python docs/picture.py             writes docs/page.png; takes two minutes

Needs Chromium (Debian: chromium). Nothing on the picture is made up: it is what `gatecast demo` shows then.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
AFTER_S = 100.0
"""Of the demo: its first alert has fired and resolved, and another one is on."""
SIZE = "1280,960"
LOADING_MS = 8000
"""Of the browser's own time, in which the page asks several times."""
END_S = 60.0


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print(
            "expected Chromium in the PATH, but there is none; Debian's package is chromium", file=sys.stderr
        )
        return 1
    command = [sys.executable, "-m", "pipeline", "demo", "--port", "0"]
    demo = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    try:
        url = find_url(demo)
        time.sleep(AFTER_S)
        picture = HERE / "page.png"
        # Without a sandbox, so that root of a container may run it; only our own page is opened.
        subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--window-size={SIZE}", f"--virtual-time-budget={LOADING_MS}", f"--screenshot={picture}", url],
            check=True, capture_output=True, timeout=END_S,
        )  # fmt: skip
        print(f"{picture}: {picture.stat().st_size:,} bytes")
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=END_S)
    return 0


def find_url(demo: subprocess.Popen[str]) -> str:
    """From the demo's output."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if found := re.match(r"page: (\S+)", line):
            return found[1]
    raise RuntimeError("expected the demo to print its address, but it ended before that")


if __name__ == "__main__":
    sys.exit(main())
