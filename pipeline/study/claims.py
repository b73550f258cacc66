"""What is said of the plain RNN, and whether the figures of a study bear it out.

Each claim is a gain: a number for each replication that is positive where the claim is right, and a size
below which it would not matter. The verdict follows from their interval alone; see `judge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from forecasters.verdict import MATERIAL, find_t
from pipeline.study.plan import ADDING, RECALL

Rows = Sequence[dict[str, Any]]
Said = Literal["holds", "does not hold", "undecided"]

HOLDS: Said = "holds"
FAILS: Said = "does not hold"
OPEN: Said = "undecided"
RIGHT = 0.9
"""Share of right answers from which a lag counts as recalled; half of them are right by chance."""
HALF = 0.5
"""Of the squared error of knowing nothing, from which down a network has learnt something of adding."""
LONG = 32
"""Lags from which on memory counts as long: a chunk of 16, the default, holds no shorter ones."""
TWICE = math.log10(2.0)
SPIKE = math.log10(1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """gains: by replication; material: the smallest that matters; unit: what a gain is, in words."""

    name: str
    text: str
    where: str
    unit: str
    gains: tuple[float, ...]
    material: float
    verdict: Said
    mean: float | None
    half_width: float | None
    figures: dict[str, Any] = field(default_factory=dict)


def judge(gains: Sequence[float], material: float) -> tuple[Said, float | None, float | None]:
    """(verdict, mean, half width of Student's 95 % interval).

    `holds` where the interval leaves out zero and the mean is material; `does not hold` where no material
    gain lies in the interval; else `undecided`, as with fewer than two replications.
    """
    values = np.array([gain for gain in gains if math.isfinite(gain)])
    if values.size < 2:
        return OPEN, float(values[0]) if values.size else None, None
    mean = float(values.mean())
    half = find_t(values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size)
    if mean - half > 0 and mean >= material:
        return HOLDS, mean, half
    return (FAILS if mean + half < material else OPEN), mean, half


def list_claims(study: dict[str, Any], where: str) -> list[Claim]:
    """Those that the study has figures for. where: what the streams were, in words."""
    drills, streams, speed = study["drills"], study["streams"], study["speed"]
    recall = [row for row in drills if row["task"] == RECALL]
    adding = [row for row in drills if row["task"] == ADDING]
    claims: list[Claim] = []
    if recall:
        claims += [
            _vanishing_in_drills(recall),
            _exploding(_pairs_of_drills(recall), RECALL),
            _recall(recall),
        ]
    if adding:
        claims += [_exploding(_pairs_of_drills(adding), ADDING), _adding(adding)]
    if streams:
        plain = [row for row in streams if row["layers"] == 1 and not row["share"]]
        claims += [_vanishing_in_streams(plain, where), _exploding(_pairs_of_streams(plain), where)]
        claims += [_accuracy(plain, where)]
        if any(row["share"] for row in streams):
            claims.append(_irregular(streams, where))
        if any(row["layers"] > 1 for row in streams):
            claims.append(_depth(streams, where))
        claims.append(_cost(plain, where))
    if speed:
        claims.append(_parallel(speed))
    return claims


def _claim(
    name: str,
    text: str,
    where: str,
    unit: str,
    gains: Iterable[float],
    material: float,
    **figures: Any,
) -> Claim:
    values = tuple(gain for gain in gains if math.isfinite(gain))
    verdict, mean, half = judge(values, material)
    return Claim(
        name=name, text=text, where=where, unit=unit, gains=values, material=material, verdict=verdict,
        mean=mean, half_width=half, figures=figures,
    )  # fmt: skip


def _pairs(rows: Rows, *keys: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(RNN, LSTM) of the same lag, seed and the like."""
    by_key: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_key.setdefault(tuple(row[key] for key in keys), {})[row["net"]] = row
    return [(both["rnn"], both["lstm"]) for both in by_key.values() if {"rnn", "lstm"} <= both.keys()]


def _long(rows: Rows) -> Rows:
    """Those of long lags; of the longest there is where all are short."""
    least = min(LONG, max(row["lag"] for row in rows))
    return [row for row in rows if row["lag"] >= least]


def _learnt(rows: Rows) -> Rows:
    """Long lags at which one network at least got somewhere: where none did, nothing tells them apart."""
    lags = {row["lag"] for row in rows if _knows_something(row)}
    return [row for row in _long(rows) if row["lag"] in lags]


def _knows_something(row: dict[str, Any]) -> bool:
    score: float = row["score"]
    return score >= RIGHT if row["task"] == RECALL else score <= HALF


# -- gradients ---------------------------------------------------------------------------------------------


def _vanishing_in_drills(rows: Rows) -> Claim:
    long = _learnt(rows)
    lags = sorted({row["lag"] for row in rows})
    return _claim(
        "vanishing gradients",
        "The gradient fades faster on its way back through a plain RNN than through an LSTM.",
        RECALL,
        "log10 of the LSTM's gradient reach at the lag over the RNN's",
        [_log_ratio(lstm["reach_at_lag"], rnn["reach_at_lag"]) for rnn, lstm in _pairs(long, "lag", "seed")],
        TWICE,
        reach_at_lag={
            net: {lag: _median([r["reach_at_lag"] for r in rows if r["net"] == net and r["lag"] == lag])
                  for lag in lags}
            for net in ("rnn", "lstm")
        },
    )  # fmt: skip


def _vanishing_in_streams(rows: Rows, where: str) -> Claim:
    lengths = {net: [row["nets"][net]["memory_length"] for row in rows] for net in ("rnn", "lstm")}
    return _claim(
        "vanishing gradients",
        "The RNN's memory (largest lag whose gradient reach exceeds 1 %) is shorter than the LSTM's.",
        where,
        "log10 of the LSTM's memory length over the RNN's",
        [_log_ratio(b, a) for a, b in zip(lengths["rnn"], lengths["lstm"], strict=True)],
        math.log10(1.1),
        memory_length={net: _median(values) for net, values in lengths.items()},
        stretch=_stretch(rows),
    )


def _exploding(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], where: str) -> Claim:
    """pairs: figures of an RNN and of an LSTM, alike but for the cell."""
    return _claim(
        "exploding gradients",
        "The RNN's gradient norms have larger spikes (99th percentile over median) than the LSTM's.",
        where,
        "log10 of the RNN's spikes over the LSTM's",
        [_log_ratio(_spikes(rnn), _spikes(lstm)) for rnn, lstm in pairs],
        SPIKE,
        **_describe_norms({"rnn": [rnn for rnn, _ in pairs], "lstm": [lstm for _, lstm in pairs]}),
    )


def _pairs_of_drills(rows: Rows) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return _pairs(_long(rows), "task", "lag", "seed")


def _pairs_of_streams(rows: Rows) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(row["nets"]["rnn"], row["nets"]["lstm"]) for row in rows]


def _describe_norms(by_net: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    worst: dict[str, Callable[[list[float]], float]] = {"norm_max": max}
    return {
        key: {net: worst.get(key, _mean)([row[key] or 0.0 for row in rows]) for net, rows in by_net.items()}
        for key in ("norm_median", "norm_p99", "norm_max", "clipped", "skipped")
    }


def _spikes(row: dict[str, Any]) -> float | None:
    return row["norm_p99"] / row["norm_median"] if row["norm_median"] else None


# -- what is learnt ----------------------------------------------------------------------------------------


def _recall(rows: Rows) -> Claim:
    lags = sorted({row["lag"] for row in rows})
    score = {
        net: {lag: _mean([r["score"] for r in rows if r["net"] == net and r["lag"] == lag]) for lag in lags}
        for net in ("rnn", "lstm")
    }
    recalled = {
        net: max((lag for lag in lags if by_lag[lag] >= RIGHT), default=0) for net, by_lag in score.items()
    }
    return _claim(
        "limited memory",
        f"Over lags of {LONG} and more a plain RNN answers fewer questions right than an LSTM.",
        RECALL,
        "share of right answers, LSTM less RNN",
        [lstm["score"] - rnn["score"] for rnn, lstm in _pairs(_learnt(rows), "lag", "seed")],
        0.05,
        score=score,
        longest_lag_recalled=recalled,
    )


def _adding(rows: Rows) -> Claim:
    lengths = sorted({row["lag"] for row in rows})
    return _claim(
        "limited memory",
        f"Over sequences of {LONG} steps and more a plain RNN adds worse than an LSTM.",
        ADDING,
        "squared error over that of knowing nothing, RNN less LSTM",
        [rnn["score"] - lstm["score"] for rnn, lstm in _pairs(_learnt(rows), "lag", "seed")],
        0.05,
        score={
            net: {n: _mean([r["score"] for r in rows if r["net"] == net and r["lag"] == n]) for n in lengths}
            for net in ("rnn", "lstm")
        },
    )


def _accuracy(rows: Rows, where: str) -> Claim:
    """The engine's own evidence: its confidence sequence on what time can do, and the seeds."""
    difference, half, verdict = join_seeds([row["pair"] for row in rows])
    said = {"better": HOLDS if difference < 0 else FAILS, "no material difference": FAILS}.get(verdict, OPEN)
    return Claim(
        name="worse forecasts",
        text="A plain RNN forecasts worse than an LSTM.",
        where=where,
        unit="error of the LSTM below that of the RNN, as a share of it",
        gains=tuple(-row["pair"]["difference"] for row in rows),
        material=MATERIAL,
        verdict=said,
        mean=-difference,
        half_width=half if math.isfinite(half) else None,
        figures={
            "mae": {net: _mean([row["nets"][net]["mae"] for row in rows]) for net in ("rnn", "lstm")},
            "skill": {net: _mean([row["nets"][net]["skill"] for row in rows]) for net in ("rnn", "lstm")},
            "dm": [row["pair"]["dm"] for row in rows],
            "p": [row["pair"]["p"] for row in rows],
        },
    )


def join_seeds(pairs: Sequence[dict[str, Any]]) -> tuple[float, float, str]:
    """(mean difference, half width, verdict) of runs over the same readings with several seeds.

    All of them saw the same stretch of time, so their confidence sequences are averaged and not joined as
    independent; the interval is that or Student's t on the spread between seeds, whichever is wider.
    """
    from forecasters.verdict import verdict

    values = np.array([pair["difference"] for pair in pairs])
    halves = [math.inf if pair["half_width"] is None else pair["half_width"] for pair in pairs]
    difference, half = float(values.mean()), float(np.mean(halves))
    if values.size > 1:
        half = max(half, find_t(values.size - 1) * float(values.std(ddof=1)) / math.sqrt(values.size))
    return difference, half, verdict(difference, difference - half, difference + half)


def _irregular(rows: Rows, where: str) -> Claim:
    """A value for each seed: shares of the same seed have their whole reading in common."""
    error = by_setting([row for row in rows if row["layers"] == 1], "share")
    shares = sorted(share for share in error if share)
    gains = []
    for seed in sorted({row["seed"] for row in rows}):
        suffers = {
            net: [error[share][seed][net] / error[0.0][seed][net] for share in shares]
            for net in ("rnn", "lstm")
        }
        gains.append(float(np.mean(np.array(suffers["rnn"]) / np.array(suffers["lstm"]))) - 1.0)
    return _claim(
        "irregular streams",
        "The more steps are masked, the more the RNN's error grows beyond what the LSTM's grows by.",
        where,
        "growth of the RNN's error over that of the LSTM's, mean over the shares",
        gains,
        MATERIAL,
        mae={
            str(share): {
                net: _mean([one[net] for one in error[share].values()]) for net in ("rnn", "lstm", "naive")
            }
            for share in sorted(error)
        },
    )  # fmt: skip


def _depth(rows: Rows, where: str) -> Claim:
    error = by_setting([row for row in rows if not row["share"]], "layers")
    deep = sorted(layers for layers in error if layers > 1)
    gains = [
        float(np.mean([error[layers][seed]["rnn"] / error[1][seed]["rnn"] for layers in deep])) - 1.0
        for seed in sorted(error[1])
    ]
    return _claim(
        "depth",
        "Stacked layers make a plain RNN worse than one layer.",
        where,
        "error of deeper RNNs over that of one layer, less 1",
        gains,
        MATERIAL,
        mae={
            str(layers): {
                net: _mean([by_net[net] for by_net in error[layers].values()]) for net in ("rnn", "lstm")
            }
            for layers in sorted(error)
        },
    )


def by_setting(rows: Rows, key: str) -> dict[Any, dict[int, dict[str, float]]]:
    """Errors by value of a setting, seed and forecaster."""
    found: dict[Any, dict[int, dict[str, float]]] = {}
    for row in rows:
        errors = {net: row["nets"][net]["mae"] for net in ("rnn", "lstm")} | {"naive": row["naive"]}
        found.setdefault(row[key], {})[row["seed"]] = errors
    return found


# -- what it costs -----------------------------------------------------------------------------------------


def _cost(rows: Rows, where: str) -> Claim:
    keys = ("seconds", "flops", "parameters", "bytes")
    return _claim(
        "cost",
        "A plain RNN takes less time for a reading than an LSTM of the same width.",
        where,
        "share of the LSTM's seconds that the RNN saves",
        [1.0 - row["nets"]["rnn"]["seconds"] / row["nets"]["lstm"]["seconds"] for row in rows],
        0.1,
        **{
            key: {net: _median([row["nets"][net][key] for row in rows]) for net in ("rnn", "lstm")}
            for key in keys
        },
    )


def _parallel(rows: Rows) -> Claim:
    """Per repeat: the longest chunks against the shortest, the same readings in all."""
    plain = sorted((row for row in rows if row["net"] == "rnn"), key=lambda row: row["chunk"])
    short, long = plain[0], plain[-1]
    return _claim(
        "no parallel speed",
        "The same readings take a plain RNN longer in few long chunks than in many short ones.",
        "one core",
        "log10 of seconds in long chunks over those in short ones",
        [_log_ratio(slow, fast) for slow, fast in zip(long["seconds"], short["seconds"], strict=True)],
        math.log10(1.1),
        readings_per_second={
            net: {row["series"]: 1.0 / row["median"] for row in rows if row["net"] == net}
            for net in ("rnn", "lstm")
        },
    )


def _log_ratio(above: float | None, below: float | None) -> float:
    """NaN where either is not known; a gradient that is gone counts as 1e-12."""
    if above is None or below is None:
        return math.nan
    return math.log10(max(above, 1e-12) / max(below, 1e-12))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _stretch(rows: Rows) -> int | None:
    reach = rows[0]["nets"]["rnn"]["reach"]
    return len(reach) - 1 if reach else None
