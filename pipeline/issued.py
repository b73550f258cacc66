"""What a stepped wave says to the outside: the forecasts that are sent, and how right earlier ones proved.

Letters: N rows, E forecasters, Q scored steps, H horizon. Here results come to the host, once a wave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from forecasters import Result
from pipeline.engine.engine import Wave
from pipeline.engine.shard import SteppedWave
from pipeline.records import Forecasts, Scores


class Selection:
    """Which forecasters are sent, of those of the bank."""

    def __init__(self, names: Sequence[str], sent: Sequence[str]) -> None:
        """Raises ValueError for a name that the bank lacks."""
        if unknown := [name for name in sent if name not in names]:
            raise ValueError(
                f"forecasts.forecasters: expected some of {', '.join(names)}, got {', '.join(unknown)}"
            )
        self.sent = tuple(sent)
        self._at = torch.tensor([list(names).index(name) for name in sent])

    def take(self, stepped: SteppedWave[Result]) -> Forecasts:
        """In the series' own units, rounded to float32 as the last thing."""
        result = stepped.wave.result
        at = self._at.to(result.departure.device)
        departure, half = result.departure.index_select(1, at), result.half.index_select(1, at)
        said = torch.stack((departure, departure - half, departure + half))
        mean, lower, upper = (result.base[:, None, None] + said).to(torch.float32).cpu().numpy()
        return Forecasts(
            series=stepped.series,
            event_time_ms=stepped.wave.event_time_ms,
            step_ms=stepped.step_ms,
            forecasters=self.sent,
            mean=mean,
            lower=lower,
            upper=upper,
        )


def find_scores(wave: Wave[Result]) -> Scores:
    """Errors in units of the series' naive one-step error: their mean is MASE."""
    result = wave.result
    unit = (result.scale / result.naive_error)[:, None, None]
    error, width = (torch.stack((result.error, 2.0 * result.due_half)) * unit).cpu().numpy()
    judged = torch.cat((result.scored[:, None], result.missed), 1).cpu().numpy()
    return Scores(
        slots=wave.slots,
        scored=judged[:, 0],
        error=error,
        missed=judged[:, 1:],
        width=width,
        replaced=np.asarray(result.replaced.cpu().numpy(), np.int64),
    )
