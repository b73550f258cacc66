"""What the runner asks of the outside world. Each port has at least two implementations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from pipeline.records import Alert, Forecasts, Messages, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A committed offset: the next to read, and the checkpoint that it names (`uuid:sha256`, or empty)."""

    offset: int
    metadata: str = ""


class Store(Protocol):
    """Checkpoints of shards. A written one is never overwritten nor renamed, and counts once its name is
    committed."""

    def write(
        self,
        topic_id: str,
        partition: int,
        offset: int,
        state: Mapping[str, torch.Tensor],
        facts: Mapping[str, object],
    ) -> str:
        """Write state, then manifest; returns the metadata to commit, `uuid:sha256`. Raises OSError."""


class Emitter(Protocol):
    """Takes what leaves the worker. Sends in the background; `flush` waits until all of it is delivered."""

    def forecasts(self, forecasts: Forecasts) -> None: ...
    def alerts(self, alerts: Sequence[Alert]) -> None: ...
    def rejected(self, messages: Messages, rejected: Sequence[Rejected]) -> None: ...
    def flush(self, timeout_s: float) -> None:
        """Raises TimeoutError if something is not delivered by then, or the error that a send met."""
