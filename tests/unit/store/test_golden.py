"""A checkpoint of each format that is read, as an earlier version wrote it: it still loads, and goes on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from pipeline.store import open_store
from pipeline.store.manifests import FORMAT, READABLE


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    """The module beside this one; tests are no package."""
    spec = importlib.util.spec_from_file_location("golden_bank", Path(__file__).parent / "golden_bank.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_this_format_and_the_one_before_are_read() -> None:
    assert set(READABLE) == {FORMAT, max(FORMAT - 1, 1)}


@pytest.mark.parametrize("version", READABLE)
def test_a_golden_checkpoint_goes_on(golden: ModuleType, version: int) -> None:
    store = open_store(str(golden.GOLDEN / f"format-{version}"), golden.GROUP, golden.TOPIC)
    (folder,) = store.list_folders(golden.TOPIC_ID, 0)
    found = store.load(golden.TOPIC_ID, 0, folder)
    assert found.manifest.format == version
    assert found.manifest.next_offset == len(golden.SERIES) * golden.READINGS
    assert found.manifest.counts == {"series": 2, "readings_learned": 120}

    bank = golden.make_bank()
    assert bank.load(found.state, found.manifest.signatures) == []
    assert bank.ids == list(golden.SERIES)
    again = golden.make_bank()
    again.add(golden.SERIES, cadence_ms=golden.CADENCE_MS, season_ms=24 * golden.CADENCE_MS)
    golden.feed(again, 0, golden.READINGS)
    for one, other in zip(golden.feed(bank, 60, 90), golden.feed(again, 60, 90), strict=True):
        # near, not equal: the processor that wrote it may have been another one
        torch.testing.assert_close(one.mean, other.mean, rtol=1e-3, atol=1e-2)
        assert torch.isfinite(one.upper).all()
