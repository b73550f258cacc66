"""Memory goes back to the system where the C library can do that."""

from __future__ import annotations

import gc
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.heap import give_back, keep, settle


def find_resident() -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what was freed")
def test_what_was_freed_leaves_the_process() -> None:
    """Blocks too small for a mapping of their own, with one in use above them: glibc keeps those."""
    blocks = [np.ones(8_192, np.uint8) for _ in range(8_192)]
    last = np.ones(8_192, np.uint8)
    before = find_resident()
    del blocks
    assert give_back()
    assert before - find_resident() > 32 << 20
    assert last.all()


COUNT_FAULTS = """
import resource, sys
import numpy as np
from pipeline.heap import keep
if sys.argv[1] == "keep":
    assert keep()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    waves = [np.ones(3 << 20, np.uint8) for _ in range(4)]
    del waves
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_what_was_freed_is_used_again() -> None:
    """Twenty times 12 MiB: pages that the system clears once, or each time anew."""
    command = [sys.executable, "-c", COUNT_FAULTS]
    kept, not_kept = (int(subprocess.check_output([*command, how])) for how in ("keep", "leave"))
    assert not_kept > 5 * kept


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.heap._find", lambda name: None)
    assert not give_back()
    assert not keep()


def test_what_is_there_is_not_looked_through_again() -> None:
    before = gc.get_freeze_count()
    try:
        settle()
        assert gc.get_freeze_count() > before + 10_000
        assert len(gc.get_objects()) < 1_000
    finally:
        gc.unfreeze()
