"""What a worker holds of one partition, from its assignment until it goes to another worker."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from pipeline.codec import Codec
from pipeline.engine.settings import Settings
from pipeline.engine.shard import Shard
from pipeline.ports import Partition, Position, TopicFacts
from pipeline.records import Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A shard ready to read on from `position.offset`; `position` is committed first where `is_fresh`."""

    shard: Shard
    codec: Codec
    facts: TopicFacts
    position: Position
    is_fresh: bool
    settings: Settings
    """What the shard knows to be declared of its series."""
    notes: tuple[str, ...] = ()
    alerts: tuple[Alert, ...] = ()
    """Resolved by what is declared now; to be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The partition can't be served until somebody does what the sentence says."""

    reason: str


@dataclass(slots=True, kw_only=True)
class Holding:
    """Loading until `loaded` is done, then running unless it was refused; frozen on its way out."""

    partition: Partition
    loading: Future[Loaded | Refused] | None = None
    waits_for: str | None = None
    """What the loading waits for, while the broker or the storage does not answer."""
    loaded: Loaded | None = None
    next_offset: int = -1
    """Of the next message that the shard has not seen."""
    committed: Position | None = None
    writing: Future[Position] | None = None
    """A checkpoint on its way; to be committed once it is written."""
    saved_at_s: float = 0.0
    """Monotonic time of the last snapshot."""
    saved_bytes: int = 0
    """Size of the last snapshot."""
    lag: int | None = None
    """Records to the end of the partition at the last look; None: not known yet."""
    readings_each: float = 1.0
    """Readings of a message, on average over those that came last; at least 1."""
    is_frozen: bool = False
    is_amid: bool = False
    """In the middle of a batch, or left there: the shard is at no offset and can't be saved."""
    told: dict[str, int] = field(default_factory=dict)
    """Counts by fate that the observer has been told."""

    @property
    def is_running(self) -> bool:
        return self.loaded is not None and not self.is_frozen

    @property
    def shard(self) -> Shard:
        assert self.loaded is not None
        return self.loaded.shard
