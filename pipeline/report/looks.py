"""How pictures look: colours by forecaster, and from matplotlib's SVG to one that follows a page's theme."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

LIGHT = {
    "ink": "#1b1f24",
    "muted": "#5b6572",
    "grid": "#d9dee4",
    "rnn": "#0b6bcb",
    "lstm": "#c4460a",
    "gru": "#7a3fb5",
    "blend": "#1a7f52",
    "linear": "#8a6d00",
    "seasonal_naive": "#8f5a78",
    "naive": "#6b7683",
}
"""Also the colours of PNGs. Each but once: in an SVG a colour is the name of its variable."""
DARK = {
    "ink": "#e6e8eb",
    "muted": "#9aa5b1",
    "grid": "#333b45",
    "rnn": "#5aa9ff",
    "lstm": "#ff9a5c",
    "gru": "#c99bff",
    "blend": "#4cc38a",
    "linear": "#d9b93b",
    "seasonal_naive": "#d69ab8",
    "naive": "#9ea9b6",
}
DASHES = {"naive": "--", "seasonal_naive": ":", "linear": "-."}
"""So that lines can be told apart without colours; the networks and their blend are solid."""
RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # texts stay texts: searchable, and in the page's font
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LIGHT["muted"],
    "axes.labelcolor": LIGHT["muted"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "text.color": LIGHT["ink"],
    "axes.grid": True,
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_GROUP = re.compile(r' id="[A-Za-z0-9.]+_\d+"')  # of matplotlib's objects; what is referred to has other ids


def find_colour(forecaster: str) -> str:
    """Of the light theme; unknown forecasters share one."""
    return LIGHT.get(forecaster, LIGHT["muted"])


def adapt_svg(text: str) -> str:
    """An SVG of matplotlib as part of a page: colours are variables, and no two pictures share an id."""
    text = _METADATA.sub("", _PROLOGUE.sub("", text))
    text = _GROUP.sub("", text)
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name.replace('_', '-')})")
    return text


def list_variables(palette: dict[str, str]) -> Iterable[str]:
    """Declarations of a style sheet."""
    return (f"--{name.replace('_', '-')}: {colour};" for name, colour in palette.items())
