"""Programs that the tests of this folder need, and what happens where one is missing."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

PROGRAMS = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
}
"""Names of each, Debian's last."""
COMES_WITH = {"promtool": "prometheus", "amtool": "alertmanager"}
"""As GATECAST_REQUIRE names them."""
PACKAGES = "Debian: apt-get install prometheus prometheus-alertmanager"


def find_program(name: str) -> str:
    """Its path. Where it is missing the test is skipped, or fails if GATECAST_REQUIRE names the component."""
    for program in PROGRAMS[name]:
        if (path := shutil.which(program)) is not None:
            return path
    miss(COMES_WITH.get(name, name), f"no {name} in the PATH ({PACKAGES})")


def miss(component: str, why: str) -> NoReturn:
    if component in os.environ.get("GATECAST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"GATECAST_REQUIRE asks for {component}, but {why}", pytrace=False)
    pytest.skip(why)
