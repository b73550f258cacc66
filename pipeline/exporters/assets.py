"""The live page's files, as they lie in the package. No build step: the browser gets what is written here.

`page/uplot` is uPlot 1.6.32 as npm has it, with its licence (MIT); the rest is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

FOLDER = "page"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and no script or style inside the page: a name that got into it as markup would
still do nothing."""
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    content_type: str


def read_assets() -> Mapping[str, Asset]:
    """By path below `/page/`; the page itself as `index.html`."""
    return dict(_read(files("pipeline.exporters").joinpath(FOLDER), ""))


def _read(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = prefix + entry.name
        if entry.is_dir():
            found += _read(entry, f"{name}/")
        elif (content_type := TYPES.get("." + entry.name.rpartition(".")[2])) is not None:
            found.append((name, Asset(entry.read_bytes(), content_type)))
    return found
