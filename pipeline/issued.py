"""What a stepped wave says to the outside: the forecasts that are sent, and how right earlier ones proved.

Letters: N rows, padded to R, E forecasters, Q scored steps, H horizon. Here results come to the host, once a
wave, with the rows last, as the bank has them: a copy with the rows first is made where messages are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
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
        departure_EHN, half_EHN = (
            self._pick(result, result.departure_EHR),
            self._pick(result, result.half_EHR),
        )
        followed = self._put_leaders(result, departure_EHN, half_EHN) if self._leads else ()
        base_N = result.base.cpu().numpy()
        # float64 on the way: as sums of both kinds, taken by themselves, it takes twice the time
        said_3EHN = np.empty((3, *departure_EHN.shape))
        said_3EHN[0] = departure_EHN
        said_3EHN[1] = departure_EHN - half_EHN
        said_3EHN[2] = departure_EHN + half_EHN
        said_3EHN += base_N
        mean, lower, upper = said_3EHN.astype(np.float32).transpose(0, 3, 1, 2)
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

    def _pick(self, result: Result, columns_EHR: torch.Tensor) -> npt.NDArray[np.float32]:
        """Those that are sent, `[E, H, N]`: a copy."""
        picked = columns_EHR.index_select(0, self._at.to(columns_EHR.device))
        found: npt.NDArray[np.float32] = picked.cpu().numpy()[..., : result.num]
        return found

    def _put_leaders(
        self, result: Result, departure_EHN: npt.NDArray[np.float32], half_EHN: npt.NDArray[np.float32]
    ) -> Sequence[str]:
        """Names by row; their forecasts go into the column of the leader."""
        if result.champion is None:
            raise ValueError(
                "a forecast of each series' leader: expected a bank with alerts, got one without"
            )
        column, at = self.sent.index(LEADER), result.champion[None, None]
        for own, everyone in ((departure_EHN, result.departure_EHR), (half_EHN, result.half_EHR)):
            rows = everyone[..., : result.num]
            own[column] = rows.gather(0, at.expand(1, *rows.shape[1:]))[0].cpu().numpy()
        return [self.names[at] for at in result.champion.tolist()]


def pick(
    columns_EHR: torch.Tensor, forecasters: tuple[int, ...], steps: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """`[E H, R]` on the host: of these forecasters, by place, those so many steps ahead."""
    at = _find_places(forecasters, steps, columns_EHR.shape[1]).to(columns_EHR.device)
    found: npt.NDArray[np.float32] = columns_EHR.flatten(0, 1).index_select(0, at).cpu().numpy()
    return found


@lru_cache(maxsize=16)
def _find_places(forecasters: tuple[int, ...], steps: tuple[int, ...], horizon: int) -> torch.Tensor:
    return torch.tensor([k * horizon + step - 1 for k in forecasters for step in steps])


def find_scores(wave: Wave[Result]) -> Scores:
    """Errors in units of the series' naive one-step error: their mean is MASE."""
    result, num = wave.result, wave.result.num
    unit_R = result.scale_R / result.naive_error_R
    return Scores(
        slots=wave.slots,
        scored=result.scored_QR.cpu().numpy()[:, :num],
        error=(result.error_EQR * unit_R).cpu().numpy()[..., :num],
        missed=result.missed_EQR.cpu().numpy()[..., :num],
        width=(2.0 * result.due_half_EQR * unit_R).cpu().numpy()[..., :num],
        replaced=np.asarray(result.replaced.cpu().numpy(), np.int64),
    )
