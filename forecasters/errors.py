"""Errors of all steps and paths, online and in constant memory.

Letters: S series (slots), N rows of a wave, E forecasters, H horizon, P paths, M measures (see MEASURES).

Each slot keeps its last H forecasts in a ring, as float32 departures from a float64 base, so that large
levels lose no digits. A value is compared with what was said 1 … H steps before it, and with nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MEASURES = ("abs", "square", "miss", "width", "pinball")
DEFAULT_PATHS = (1, 24, 48)
_POWERS = (1, 2, 0, 1, 1)
"""By measure: the power of the scale that it is divided by."""


class PathErrors:
    """Sums over scored origins per slot, forecaster and step, and per path.

    ``step`` h has all counted origins whose h-th target arrived unmasked. ``path`` p averages each counted
    origin over its unmasked targets 1 … p, and then over the origins whose p-th target time has passed: path
    p has its own origins. An origin without one unmasked target is left out. Memory per slot is about
    12 · H² · E bytes; slots are added as they are named.
    """

    def __init__(
        self,
        num_forecasters: int,
        horizon: int,
        coverage: float = 0.9,
        paths: Sequence[int] = DEFAULT_PATHS,
    ) -> None:
        """Raises ValueError for a coverage outside (0, 1) or a horizon below 1."""
        if horizon < 1:
            raise ValueError(f"horizon: expected at least 1, got {horizon}")
        if not 0 < coverage < 1:
            raise ValueError(f"coverage: expected a number between 0 and 1, got {coverage}")
        self.num_forecasters, self.horizon, self.coverage = num_forecasters, horizon, coverage
        self.paths = tuple(sorted({p for p in (*paths, horizon) if 1 <= p <= horizon}))
        E, H, P, M = num_forecasters, horizon, len(self.paths), len(MEASURES)
        self._ages_H = np.arange(1, H + 1)
        self._paths_P = np.array(self.paths)
        self._slots = 0
        self._data: dict[str, npt.NDArray[Any]] = {
            "time": np.zeros(0, np.int64),  # rows of the slot so far
            "last": np.full(0, np.nan),
            "base": np.zeros((0, H)),  # by origin modulo H
            "said": np.zeros((0, H, H, 3, E), np.float32),  # by origin, step: mean, lower, upper
            "counted": np.zeros((0, H), np.bool_),
            "run": np.zeros((0, H, M, E)),  # by origin: sums over its targets so far
            "run_count": np.zeros((0, H), np.int64),
            "step_sum": np.zeros((0, H, M, E)),
            "step_count": np.zeros((0, H), np.int64),
            "path_sum": np.zeros((0, P, M, E)),
            "path_count": np.zeros((0, P), np.int64),
            "change_sum": np.zeros(0),
            "change_count": np.zeros(0, np.int64),
        }

    def add(
        self,
        slots: Int64Array,
        value: Float64Array,
        masked: BoolArray,
        mean: Float64Array,
        lower: Float64Array,
        upper: Float64Array,
        counted: BoolArray,
    ) -> None:
        """Score the values ``[N]`` of one grid step, then keep the forecasts ``[N, E, H]`` made after them.

        A slot occurs at most once. ``counted`` says which of the new forecasts will be scored.
        """
        self._grow(int(slots.max(initial=-1)) + 1)
        d = self._data
        origins_NH = (d["time"][slots][:, None] - self._ages_H) % self.horizon
        if d["counted"][slots].any():
            self._score(slots, origins_NH, value, masked)
        self._add_change(slots, value, masked)
        place = d["time"][slots] % self.horizon
        base = np.where(np.isfinite(mean[:, 0, 0]), mean[:, 0, 0], 0.0)
        d["base"][slots, place] = base
        said_N3EH = np.stack([mean - base[:, None, None], lower - mean, upper - mean], axis=1)
        d["said"][slots, place] = said_N3EH.transpose(0, 3, 1, 2)
        d["counted"][slots, place] = counted
        d["run"][slots, place] = 0.0
        d["run_count"][slots, place] = 0
        d["time"][slots] += 1

    def pass_over(self, slots: Int64Array, steps: Int64Array) -> None:
        """So many grid steps of these slots had neither a value nor a forecast."""
        for nth in range(int(steps.max(initial=0))):
            rest = slots[steps > nth]
            nothing = np.zeros((rest.size, self.num_forecasters, self.horizon))
            no = np.zeros(rest.size, np.bool_)
            self.add(rest, no.astype(np.float64), ~no, nothing, nothing, nothing, counted=no)

    def restart(self, slots: Int64Array) -> None:
        """Forget the pending forecasts of these slots; what was scored stays."""
        self._grow(int(slots.max(initial=-1)) + 1)
        self._data["counted"][slots] = False
        self._data["last"][slots] = np.nan

    def _grow(self, slots: int) -> None:
        if slots <= self._slots:
            return
        capacity = max(slots, 2 * self._slots)
        for name, old in self._data.items():
            new = np.full((capacity, *old.shape[1:]), np.nan if name == "last" else 0, old.dtype)
            new[: self._slots] = old
            self._data[name] = new
        self._slots = capacity

    def _score(
        self, slots: Int64Array, origins_NH: Int64Array, value: Float64Array, masked: BoolArray
    ) -> None:
        d, rows, ages = self._data, slots[:, None], self._ages_H - 1
        counted_NH = d["counted"][rows, origins_NH]
        valid_NH = counted_NH & ~masked[:, None]
        if valid_NH.any():
            said_NH3E = d["said"][rows, origins_NH, ages].astype(np.float64)
            y_NH = np.where(masked, 0.0, value)[:, None] - d["base"][rows, origins_NH]
            scores_NHME = self._measure(y_NH[:, :, None], said_NH3E)
            scores_NHME = np.where(valid_NH[:, :, None, None], scores_NHME, 0.0)
            d["step_sum"][slots] += scores_NHME
            d["step_count"][slots] += valid_NH
            d["run"][rows, origins_NH] += scores_NHME
            d["run_count"][rows, origins_NH] += valid_NH
        ending_NP = origins_NH[:, self._paths_P - 1]
        targets_NP = np.where(counted_NH[:, self._paths_P - 1], d["run_count"][rows, ending_NP], 0)
        divisor = np.maximum(targets_NP, 1)[:, :, None, None]
        whole_NPME = d["run"][rows, ending_NP] / divisor
        d["path_sum"][slots] += np.where(targets_NP[:, :, None, None] > 0, whole_NPME, 0.0)
        d["path_count"][slots] += targets_NP > 0

    def _measure(self, y_NH1: Float64Array, said_NH3E: Float64Array) -> Float64Array:
        """``[N, H, M, E]``; pinball loss at level τ: (y - q)(τ - [y < q]) (Gneiting & Raftery 2007, §6)."""
        error = y_NH1 - said_NH3E[:, :, 0]
        lower, upper = said_NH3E[:, :, 1], said_NH3E[:, :, 2]
        below, above = error < lower, error > upper
        low_level = (1.0 - self.coverage) / 2.0
        low = (error - lower) * (low_level - below)
        high = (error - upper) * (1.0 - low_level - (error < upper))
        miss = (below | above).astype(np.float64)
        return np.stack([np.abs(error), error**2, miss, upper - lower, (low + high) / 2.0], axis=2)

    def _add_change(self, slots: Int64Array, value: Float64Array, masked: BoolArray) -> None:
        d = self._data
        change = np.abs(value - d["last"][slots])
        known = ~masked & np.isfinite(change)
        d["change_sum"][slots] += np.where(known, change, 0.0)
        d["change_count"][slots] += known
        d["last"][slots] = np.where(masked, np.nan, value)

    def join(self, others: Sequence[PathErrors], num_slots: Sequence[int]) -> PathErrors:
        """The sums of several shards as one, for `summary`: slots of self, then of each other.

        num_slots: how many slots count, of self and each other. Pending forecasts are left out.
        """
        joined = PathErrors(self.num_forecasters, self.horizon, self.coverage, self.paths)
        joined._grow(sum(num_slots))
        start = 0
        for part, size in zip((self, *others), num_slots, strict=True):
            part._grow(size)
            for name in ("step", "path", "change"):
                for column in (f"{name}_sum", f"{name}_count"):
                    joined._data[column][start : start + size] = part._data[column][:size]
            start += size
        return joined

    def count(self, step: int) -> Int64Array:
        """``[S]`` scored targets by slot at one step."""
        counts: Int64Array = self._data["step_count"][:, step - 1].copy()
        return counts

    def summary(self, names: Sequence[str], scale_by_slot: Float64Array) -> dict[str, dict[str, Any]]:
        """By forecaster: ``path`` and ``step``, each by number as text, with a number or None by measure.

        Errors are divided by the slot's scale (MSE by its square) and averaged over series with equal weight;
        slots without scored targets, or whose scale is not finite and above zero, are left out. ``mase`` is
        MAE over the mean |one-step change| of the slot's readings (Hyndman & Koehler 2006, eq. 3; there
        in-sample, here over all readings so far), over the slots that change. ``skill`` is 1 - MAE / MAE of
        ``naive``. ``lowest_coverage`` is that of the series that has the lowest.
        """
        used = min(self._slots, len(scale_by_slot))
        scale_S = np.where(scale_by_slot[:used] > 0, scale_by_slot[:used], np.nan)
        result: dict[str, dict[str, Any]] = {name: {} for name in names}
        for kind, keys in (("path", self.paths), ("step", tuple(range(1, self.horizon + 1)))):
            sums, counts = self._data[f"{kind}_sum"][:used], self._data[f"{kind}_count"][:used]
            for name in names:
                result[name][kind] = {}
            for at, key in enumerate(keys):
                for name, numbers in self._average(names, sums[:, at], counts[:, at], scale_S).items():
                    result[name][kind][str(key)] = numbers
        return result

    def _average(
        self, names: Sequence[str], sum_SME: Float64Array, count_S: Int64Array, scale_S: Float64Array
    ) -> dict[str, dict[str, float | None]]:
        good = (count_S > 0) & np.isfinite(scale_S)
        d, used = self._data, len(scale_S)
        mean_SME = sum_SME[good] / count_S[good][:, None, None]
        scaled_SME = mean_SME / scale_S[good][:, None, None] ** np.array(_POWERS)[None, :, None]
        moving = d["change_sum"][:used][good] > 0
        change = d["change_sum"][:used][good] / np.maximum(d["change_count"][:used][good], 1)
        mase_SE = mean_SME[moving, 0] / change[moving][:, None]
        mae_E = [_mean(scaled_SME[:, 0, e]) for e in range(len(names))]
        naive = mae_E[list(names).index("naive")] if "naive" in names else None
        result: dict[str, dict[str, float | None]] = {}
        for e, name in enumerate(names):
            mse_S, miss, mae = scaled_SME[:, 1, e], _mean(scaled_SME[:, 2, e]), mae_E[e]
            result[name] = {
                "mse": _mean(mse_S),
                "mae": mae,
                "rmse": _mean(np.sqrt(mse_S)),
                "mase": _mean(mase_SE[:, e]),
                "skill": 1.0 - mae / naive if naive and mae is not None else None,
                "coverage": None if miss is None else 1.0 - miss,
                "lowest_coverage": None if miss is None else 1.0 - float(scaled_SME[:, 2, e].max()),
                "width": _mean(scaled_SME[:, 3, e]),
                "pinball": _mean(scaled_SME[:, 4, e]),
            }
        return result


def _mean(values: Float64Array) -> float | None:
    mean = float(values.mean()) if values.size else float("nan")
    return mean if np.isfinite(mean) else None
