"""How pictures look: colours by forecaster, and from matplotlib's SVG to one that follows a page's theme."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

LIGHT = {
    "ink": "#16212b",
    "muted": "#4f5d6b",
    "grid": "#e3e7eb",
    "rnn": "#c44e00",
    "lstm": "#0067a5",
    "gru": "#8a4a82",
    "blend": "#00734f",
    "linear": "#7a6400",
    "seasonal_naive": "#8f5a78",
    "naive": "#6f7a85",
}
"""Those of the live page; also of PNGs. Each but once: in an SVG a colour is the name of its variable."""
DARK = {
    "ink": "#e8edf2",
    "muted": "#a6b3bf",
    "grid": "#29343e",
    "rnn": "#ff9e4a",
    "lstm": "#56b4e9",
    "gru": "#d9a0d3",
    "blend": "#3fd0a0",
    "linear": "#e0c847",
    "seasonal_naive": "#d69ab8",
    "naive": "#97a3ae",
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
