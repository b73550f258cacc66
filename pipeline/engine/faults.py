"""Why the value of a reading is of no use. Columns are [N] readings in log order."""

from __future__ import annotations

import numpy as np

from forecasters import LARGEST_VALUE
from pipeline.engine.columns import Columns
from pipeline.engine.rows import OFF, OUT_OF_RANGE, Int8Array
from pipeline.engine.settings import EQUAL, GREATER, LESS
from pipeline.records import GOOD, MISSING, Float64Array, Int64Array


def find_faults(
    columns: Columns, series: Int64Array, value: Float64Array, given: Int8Array | None
) -> Int8Array:
    """The fault of each reading, GOOD where it has none; `given` is what it came with.

    A value that can't be computed with, such as a sentinel of DBL_MAX, is missing. A machine at rest is not
    out of range, whatever its sensor shows.
    """
    fault = np.full(value.size, GOOD, np.int8) if given is None else given.astype(np.int8)
    fault[(fault == GOOD) & ~(np.abs(value) <= LARGEST_VALUE)] = MISSING  # NaN too
    threshold, outcomes = columns["off_threshold"][series], columns["off_outcomes"][series]
    is_off = (value < threshold) & (outcomes & LESS > 0)
    is_off |= (value == threshold) & (outcomes & EQUAL > 0)
    is_off |= (value > threshold) & (outcomes & GREATER > 0)
    outside = (value < columns["minimum"][series]) | (value > columns["maximum"][series])
    fault[(fault == GOOD) & is_off] = OFF
    fault[(fault == GOOD) & outside] = OUT_OF_RANGE
    return fault
