"""An NVIDIA GPU for the tests of this folder; where there is none they are skipped, aloud."""

from __future__ import annotations

import os

import pytest
import torch


@pytest.fixture
def gpu() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    why = f"no NVIDIA GPU: torch {torch.__version__} finds none"
    if "gpu" in os.environ.get("GATECAST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"{why}, but GATECAST_REQUIRE asks for one", pytrace=False)
    pytest.skip(why)
