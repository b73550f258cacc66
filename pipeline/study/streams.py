"""RNN and LSTM on one stream of readings, through the engine that runs live: errors, gradients, cost.

Letters: N rows of a wave, S slots.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from forecasters import Bank
from forecasters.verdict import Evidence
from pipeline.backtest import BacktestOptions, build_bank, run_backtest
from pipeline.engine.intake import IntakeOptions
from pipeline.histories import History
from pipeline.study.plant import mask_share

NETS = ("rnn", "lstm")
NAMES = ("naive", *NETS)
MOST_REACH_SERIES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One history under one set of options. chunk: steps of truncated backpropagation; share: of the readings
    that are masked."""

    seed: int
    horizon: int = 24
    layers: int = 1
    chunk: int = 16
    share: float = 0.0
    hidden: int = 64


class _Norms:
    """Gradient norms of every training step: the bank keeps the last."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.by_net: dict[str, list[float]] = {name: [] for name in bank.nets}
        self._taken = dict.fromkeys(bank.nets, 0.0)

    def look(self) -> None:
        """After each wave. Two steps within one wave, rare as they are, show as one."""
        for name, told in self.bank.training().items():
            taken = told["applied"] + told["clipped"]
            if taken != self._taken[name]:
                self._taken[name] = taken
                self.by_net[name].append(told["norm"])


class WatchedBank:
    """A bank that notes the gradient norms of its networks; everything else is the bank's own."""

    def __init__(self, bank: Bank) -> None:
        self._bank, self.norms = bank, _Norms(bank)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def step(self, *args: Any) -> Any:
        result = self._bank.step(*args)
        self.norms.look()
        return result


def run_stream(history: History, run: Run, intake: IntakeOptions | None = None) -> dict[str, Any]:
    """A row of figures: what was asked for, `nets` by name, and `pair`, the LSTM against the RNN over all
    steps.

    Of a network: mae and skill (over all steps), parameters, bytes of state per series, flops and seconds per
    reading, norm_median, norm_p99, norm_max, clipped and skipped (shares of the training steps), reach `[K]`
    by lag and memory_length. Errors are in deviations of the warm-up. Raises ConfigError.
    """
    torch.set_num_threads(1)
    options = BacktestOptions(
        forecasters=NAMES,
        horizon=run.horizon,
        seed=run.seed,
        device="cpu",
        intake=intake or IntakeOptions(),
        build={"layers": run.layers, "chunk": run.chunk, "hidden": run.hidden},
    )
    banks: list[WatchedBank] = []

    def make_bank(options: BacktestOptions, seed: int) -> Any:
        bank = build_bank(options, seed)
        assert isinstance(bank, Bank)
        banks.append(WatchedBank(bank))
        return banks[-1]

    masked = mask_share(history, run.share, run.seed)
    outcome = run_backtest(masked, options, make_bank=make_bank)
    assert outcome.part is not None
    readings = len(history.value)
    return {
        **asdict(run),
        "readings": readings,
        "series": len(history.series),
        "masked": float(np.isnan(masked.value).mean()),
        "naive": _errors(outcome.report, "naive", run.horizon)["mae"],
        "nets": {
            name: {
                **_errors(outcome.report, name, run.horizon),
                **describe_cost(banks[0], name, readings),
                **describe_norms(banks[0], name),
                **describe_reach(banks[0], name),
            }
            for name in NETS
        },
        "pair": describe_pair(outcome.part.evidence),
    }


def _errors(report: dict[str, Any], name: str, horizon: int) -> dict[str, float]:
    figures = report["forecasters"][name]["path"][str(horizon)]
    return {"mae": figures["mae"], "mse": figures["mse"], "skill": figures["skill"]}


def describe_cost(bank: Any, name: str, readings: int) -> dict[str, float]:
    """Per reading, masked ones included; bytes: of this network's own state of each series."""
    return {
        "parameters": bank.parameters(name),
        "bytes": bank.bytes_per_series()[f"forecaster.{name}"],
        "flops": bank.flops(name) / readings,
        "seconds": bank.seconds(name) / readings,
    }


def describe_norms(bank: WatchedBank, name: str) -> dict[str, float | None]:
    told, norms = bank.training()[name], np.array(bank.norms.by_net[name])
    steps = told["applied"] + told["clipped"] + told["skipped"]
    quantiles = np.quantile(norms, [0.5, 0.99, 1.0]).tolist() if norms.size else [None] * 3
    return {
        **dict(zip(("norm_median", "norm_p99", "norm_max"), quantiles, strict=True)),
        "steps": steps,
        "clipped": told["clipped"] / max(steps, 1),
        "skipped": told["skipped"] / max(steps, 1),
    }


def describe_reach(bank: Any, name: str) -> dict[str, Any]:
    """None where no series has enough history in one piece."""
    slots = np.unique(np.linspace(0, len(bank.ids) - 1, MOST_REACH_SERIES).astype(np.int64))
    try:
        reach = bank.reach(name, slots)
    except ValueError:
        return {"reach": None, "states": None, "memory_length": None}
    return {
        "reach": [_finite(share) for share in reach.inputs.tolist()],
        "states": [_finite(share) for share in reach.states.tolist()],
        "memory_length": reach.memory_length,
    }


def describe_pair(evidence: list[Evidence] | Any) -> dict[str, Any]:
    """The evidence on LSTM against RNN over the path: relative difference, its interval, verdict, test."""
    figures = evidence[0].pairs["lstm", "rnn"][-1]
    naive = {name: evidence[0].pairs[name, "naive"][-1] for name in NETS}
    return {
        "difference": figures.difference,
        "half_width": _finite(figures.half_width),
        "verdict": figures.verdict,
        "dm": figures.statistic,
        "p": figures.p,
        "span_ms": evidence[0].span_ms,
        "buckets": figures.buckets,
        "needed": figures.needed,
        "against_naive": {
            name: {"difference": f.difference, "half_width": _finite(f.half_width)}
            for name, f in naive.items()
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
