"""What becomes of memory that Python and torch have freed; and pauses of Python's collector.

Every wave makes temporaries of the same sizes and frees them. What glibc gives back to the system then, the
system must clear again for the next wave: a tenth of the time at 1 000 series. So it is kept, and given back
after a checkpoint, whose copies are the largest part: at 10 000 series a third of a worker's memory.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)
_LARGEST_KEPT = 32 << 20
"""Bytes of a block that is not kept, being a mapping of its own: the most that glibc takes."""
_MOST_KEPT = 64 << 20


def keep() -> bool:
    """From now on up to 64 MiB of what is freed, per thread that asks for memory, stay with this process
    until `give_back`. Returns whether that was understood: nothing changes where the C library is not glibc.
    """
    mallopt = _find("mallopt")
    return mallopt is not None and bool(
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
    )


def give_back() -> bool:
    """Whether anything was given back. Takes milliseconds, for a thread that does not process readings; does
    nothing where the C library is not glibc."""
    trim = _find("malloc_trim")
    return trim is not None and bool(trim(0))


def settle() -> None:
    """What is there now stays for good: the collector need not look through it again. To be called once, when
    a worker is built: some 250 000 objects of libraries, 80 to 170 ms for each full collection."""
    gc.collect()
    gc.freeze()


@cache
def _find(name: str) -> Callable[..., int] | None:
    """A function of glibc, None where there is none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has no library of no name
        return None
