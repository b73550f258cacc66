"""How a bank is made: its options, checked."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from forecasters.anomaly import AlertOptions
from forecasters.bank import Bank
from forecasters.recurrent import RecurrentOptions
from forecasters.registry import BLEND, NAMES


def build(
    names: Sequence[str],
    *,
    horizon: int = 24,
    seed: int = 0,
    device: str | torch.device = "auto",
    coverage: float = 0.9,
    chunk: int = 16,
    replay: int = 48,
    pool: int = 512,
    max_rate: float | None = None,
    alerts: AlertOptions | None = None,
    **recurrent: float,
) -> Bank:
    """A bank of the named forecasters. `recurrent`: the fields of `RecurrentOptions`.

    max_rate: readings a second of the shard clock that the networks learn at most, see `thinning`; None: all.
    alerts: how readings are judged; None: they are not.
    `blend` blends the other names. device "auto" is the GPU where there is one.
    Raises ValueError for an unknown or repeated name and for an option out of its range.
    """
    unknown = [n for n in names if n not in NAMES]
    if unknown or not names or len(set(names)) != len(names):
        raise ValueError(
            f"forecasters: expected each at most once of {', '.join(NAMES)}, got {', '.join(names)}"
        )
    if list(names) == [BLEND]:
        raise ValueError("forecasters: blend needs at least one other forecaster to blend")
    if chunk < 1 or replay < 0 or pool < 1:
        raise ValueError(
            f"expected chunk and pool of at least 1 and replay of at least 0, got {chunk}, {pool}, {replay}"
        )
    fields = RecurrentOptions.__dataclass_fields__
    wrong = [k for k in recurrent if k not in fields]
    if wrong:
        raise ValueError(f"option {wrong[0]}: expected one of {', '.join(fields)}")
    whole = {k: int(v) if k in ("hidden", "layers") else float(v) for k, v in recurrent.items()}
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Bank(
        names,
        horizon=horizon,
        seed=seed,
        device=torch.device(device),
        coverage=coverage,
        chunk=chunk,
        replay=replay,
        pool=pool,
        recurrent=RecurrentOptions(**whole),  # type: ignore[arg-type]
        alerts=alerts,
        max_rate=max_rate,
    )
