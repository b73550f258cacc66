"""Memory that Python and torch have freed, given back to the system; and pauses of Python's collector.

glibc keeps what was freed for later: at 10 000 series a third of a worker's memory, most of it the copies
that checkpoints were written from and the temporaries of large waves.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache


def give_back() -> bool:
    """Whether anything was given back. Takes milliseconds, for a thread that does not process readings; does
    nothing where the C library is not glibc."""
    trim = _find_trim()
    return trim is not None and bool(trim(0))


def settle() -> None:
    """What is there now stays for good: the collector need not look through it again. To be called once, when
    a worker is built: some 250 000 objects of libraries, 80 to 170 ms for each full collection."""
    gc.collect()
    gc.freeze()


@cache
def _find_trim() -> Callable[[int], int] | None:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows has no library of no name
        return None
