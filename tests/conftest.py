"""What all tests share: one torch thread, so that numbers repeat bit for bit, and the public data sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with `ett/` and `nab/`."""
    given = os.environ.get("GATECAST_TEST_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            f"no data sets: GATECAST_TEST_DATA is {given or 'not set'} and {folder} is no folder; it "
            "needs one with ETTh1.csv and ETTm1.csv in ett/ (github.com/zhouhaoyi/ETDataset)"
        )
    return folder
