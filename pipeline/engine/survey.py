"""How the series of a shard stand, as columns that nothing changes any more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.records import Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Columns are [S], all series of the shard in the order of their places.

    slot: in the bank, negative while the cadence is unknown; state: place in `lives.STATES`; accepted:
    readings learnt from; heard_ms: the shard clock at the last reading.
    """

    ids: tuple[str, ...]
    slot: Int64Array
    state: npt.NDArray[np.int8]
    accepted: Int64Array
    heard_ms: Int64Array
    warm_readings: int
    num_retired: int
