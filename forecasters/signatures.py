"""What each component of a bank's state depends on, as text: equal texts mean that the state fits as it is.

A signature is `key=value; key=value`. Learning rates, replay and the seed are in none: they change what
comes, not what is there.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from forecasters.episodes import COLUMNS as EPISODES
from forecasters.irregular import EDGES
from forecasters.linear import NUM, Linear
from forecasters.memory import NUM_FEATURES
from forecasters.recurrent import Recurrent
from forecasters.timetable import COLUMNS as TIMETABLE

if TYPE_CHECKING:
    from forecasters.bank import Bank

FEATURES = f"{NUM_FEATURES}.1"
"""Number of features, and the version of what they mean: raise it when one comes to mean something else."""

OWN = 3
"""Version of what a network keeps of each series beside its state: gate, and regression of the first step."""

TICKS, SERIES, RINGS, CHUNKS = "ticks", "series", "rings", "chunks"
PENDING, INTERVALS, BLENDING, COMPARING = "pending", "intervals", "blend", "comparison"
ALERTING, FOLLOWING, IRREGULAR = "alerts", "champion", "irregular"


def describe(bank: Bank) -> dict[str, str]:
    """The signature of each component, by its name; those of forecasters begin with `forecaster.`."""
    scored = _listed(bank.scored)
    stack = ["stack"] if bank.blend else []
    horizon, chunk, pool = bank.horizon, bank.chunks.chunk, bank.chunks.pool
    core = repr(sorted((n, f.shape, str(f.dtype)) for n, f in bank.memory.core.spec.items()))
    core += repr(sorted((n, str(kind)) for n, (kind, _) in TIMETABLE.items()))
    signatures = {
        TICKS: _text(version=1),
        SERIES: _text(version=1, layout=hashlib.sha256(core.encode()).hexdigest()[:12], chunk=chunk),
        RINGS: _text(version=1, features=FEATURES, length=bank.memory.ring_length),
        CHUNKS: _text(version=1, features=FEATURES, horizon=horizon, chunk=chunk, pool=pool),
        PENDING: _text(
            version=3,
            scored=scored,
            tracked=_listed([*bank.names, *(f"{n} raw" for n in bank.nets), *stack]),
            bounded=_listed(bank.names),
        ),
        INTERVALS: _text(
            version=1,
            scored=scored,
            forecasters=_listed(bank.names),
            coverage=f"{1.0 - bank.intervals.miss_rate:.6g}",
        ),
    }
    if bank.comparison:
        pairs = _listed([f"{a}-{b}" for a, b in bank.comparison.pairs])
        signatures[COMPARING] = _text(version=1, scored=scored, forecasters=_listed(bank.names), pairs=pairs)
        signatures[IRREGULAR] = _text(version=1, forecasters=_listed(bank.names), edges=_listed(EDGES))
    if bank.anomaly:
        # neither budget nor champion: what is rare for a series goes on, and adapts
        layout = repr(sorted((n, f.shape) for n, f in bank.anomaly.ranks.fields.spec.items()))
        layout += repr(sorted((n, str(column.dtype)) for n, column in EPISODES.items()))
        signatures[ALERTING] = _text(version=1, layout=hashlib.sha256(layout.encode()).hexdigest()[:12])
    if bank.champion and bank.champion.at is None:
        signatures[FOLLOWING] = _text(version=1, forecasters=_listed(bank.names))
    if bank.blend:
        signatures[BLENDING] = _text(version=2, scored=scored, experts=_listed(bank.experts))
    for name, model in bank.models.items():
        about: dict[str, object] = {"version": 1, "kind": type(model).__name__}
        if isinstance(model, Recurrent):
            cell = model.network.layers[0]
            about |= {"cell": type(cell).__name__, "hidden": model.network.hidden}
            about |= {"layers": len(model.network.layers), "inputs": cell.inputs, "features": FEATURES}
            about |= {"own": OWN}
            about |= {"horizon": horizon, "chunk": chunk, "pool": pool}
        elif isinstance(model, Linear):
            about |= {"version": 2, "inputs": NUM, "features": FEATURES, "horizon": horizon}
            about |= {"length": bank.memory.ring_length}
        signatures[f"forecaster.{name}"] = _text(**about)
    return signatures


def parse(signature: str) -> dict[str, str]:
    """The reverse; an empty text has no keys."""
    parts = (part.partition("=") for part in signature.split("; ") if part)
    return {key: value for key, _, value in parts}


def listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _listed(values: object) -> str:
    assert isinstance(values, list | tuple)
    return ",".join(str(value) for value in values)


def _text(**about: object) -> str:
    return "; ".join(f"{key}={value}" for key, value in about.items())
