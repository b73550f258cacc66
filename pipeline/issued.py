"""What a stepped wave says to the outside: the forecasts that are sent, and how right earlier ones proved.

Letters: N rows, E forecasters, Q scored steps, H horizon. Here results come to the host, once a wave.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from forecasters import Result
from forecasters.champion import LEADER
from pipeline.engine.engine import Wave
from pipeline.engine.shard import SteppedWave
from pipeline.records import Forecasts, Scores


class Selection:
    """Which forecasters are sent, of those of the bank."""

    def __init__(self, names: Sequence[str], sent: Sequence[str]) -> None:
        """sent: `leader` stands for whom each series follows. Raises ValueError for a name that the bank
        lacks."""
        if unknown := [name for name in sent if name not in (*names, LEADER)]:
            raise ValueError(
                f"forecasts.forecasters: expected some of {', '.join(names)}, got {', '.join(unknown)}"
            )
        self.names, self.sent = tuple(names), tuple(sent)
        self._leads = LEADER in self.sent
        # the leader's column is filled in row by row
        self._at = torch.tensor([0 if name == LEADER else self.names.index(name) for name in sent])

    def take(self, stepped: SteppedWave[Result]) -> Forecasts:
        """In the series' own units, rounded to float32 as the last thing."""
        result = stepped.wave.result
        at = self._at.to(result.departure.device)
        departure, half = result.departure.index_select(1, at), result.half.index_select(1, at)
        followed = self._put_leaders(result, departure, half) if self._leads else ()
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
            followed=followed,
        )

    def _put_leaders(self, result: Result, departure: torch.Tensor, half: torch.Tensor) -> Sequence[str]:
        """Names by row; their forecasts go into the column of the leader."""
        if result.champion is None:
            raise ValueError(
                "a forecast of each series' leader: expected a bank with alerts, got one without"
            )
        everyone = torch.arange(result.champion.numel(), device=result.champion.device)
        column = self.sent.index(LEADER)
        departure[:, column] = result.departure[everyone, result.champion]
        half[:, column] = result.half[everyone, result.champion]
        return [self.names[at] for at in result.champion.tolist()]


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
