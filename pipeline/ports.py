"""What the runner asks of the outside world. Each port has at least two implementations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch

from pipeline.clients import BrokerError
from pipeline.records import Alert, Forecasts, Messages, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A committed offset: the next to read, and the checkpoint that it names (`uuid:sha256`, or empty)."""

    offset: int
    metadata: str = ""


class Partition(NamedTuple):
    """One partition of a topic of readings."""

    topic: str
    partition: int


class QuestionError(ValueError):
    """A question over HTTP can't be answered as it was asked; the text says what was expected."""


class SourceError(BrokerError):
    """The source can't go on, and trying again does not help; the text says what to change."""


class SourceUnavailable(Exception):  # noqa: N818 - a state that passes, no error of ours
    """The broker did not answer in time; trying again later helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why no readings come, and since when."""

    since_s: float  # seconds since the epoch
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a commit did. `refused` says why not: `rebalance` (try again after the next poll, if still owned),
    `unavailable` (try again; it may have been done), `fenced` (the group has expelled this worker: the next
    poll drops its partitions), `not_owned`."""

    done: frozenset[Partition] = frozenset()
    refused: Mapping[Partition, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFacts:
    """What the broker says about a topic."""

    topic_id: str  # another one after the topic was deleted and made again; "none" where the broker has none
    partitions: int
    timestamp_type: str  # CreateTime or LogAppendTime; "" if not known


class RebalanceHandler(Protocol):
    """What a source asks while partitions go to other workers. Called on a thread of the source while `poll`
    waits in it, so nothing else of the source runs meanwhile; the calls must return at once."""

    def freeze(self, partition: Partition) -> Future[Position] | None:
        """Stops learning in the partition and writes its checkpoint aside; the future is what to commit. None
        if there is nothing to commit."""

    def drop(self, partitions: Sequence[Partition], committed: Mapping[Partition, Position]) -> None:
        """Forgets the partitions; they belong to somebody else now. `committed`: what of their last freeze
        became the group's offset; empty if the partitions were lost."""


class Source(Protocol):
    """Messages of the partitions that this worker owns. Used by one thread, but for `committed`, `bounds` and
    `topic_facts`, which any thread may call."""

    def poll(self, timeout_s: float) -> list[Messages]:
        """Messages that have come, by partition, at most `timeout_s` later; [] while the broker is away.

        Takes part in rebalances, so it must be called again within a minute. Raises SourceError.
        """

    def take_assigned(self) -> list[Partition]:
        """Partitions that came since the last call; each stays paused until `start`."""

    def start(self, partition: Partition, offset: int) -> bool:
        """Reads on from the offset; False if the partition has gone meanwhile."""

    def pause(self, partition: Partition) -> None: ...
    def resume(self, partition: Partition) -> None: ...

    def commit(self, positions: Mapping[Partition, Position]) -> Commit:
        """Commits what is still owned. Raises SourceError where the broker will never take it."""

    def lag(self, partition: Partition) -> int | None:
        """Offsets from the position to the end of what may be read; None if not known (yet)."""

    def read_to_end(self, partition: Partition) -> bool:
        """Whether all that the broker had a second or so ago has been handed out."""

    def committed(self, partition: Partition) -> Position | None:
        """The group's offset. Raises SourceUnavailable, SourceError."""

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """First offset, and end of what may be read. Raises SourceUnavailable, SourceError."""

    def topic_facts(self, topic: str) -> TopicFacts:
        """Raises SourceUnavailable, or SourceError if there is no such topic."""

    @property
    def trouble(self) -> Trouble | None: ...

    @property
    def stopped(self) -> Mapping[Partition, str]:
        """Partitions that can't be read on, and why."""

    def take_lost(self) -> Mapping[Partition, int]:
        """Offsets that were deleted before they were read, since the last call."""

    def close(self, timeout_s: float) -> None:
        """Leaves the group at once. Commits nothing and asks no handler."""


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

    def prune(
        self, topic_id: str, partition: int, committed: Position, *, keep: int, daily_days: int
    ) -> object:
        """Take old ones away, never the committed one; for the owner alone, after its commit."""


class Emitter(Protocol):
    """Takes what leaves the worker. Sends in the background; `flush` waits until all of it is delivered."""

    def forecasts(self, forecasts: Forecasts) -> None: ...
    def alerts(self, alerts: Sequence[Alert]) -> None: ...
    def rejected(self, messages: Messages, rejected: Sequence[Rejected]) -> None: ...
    @property
    def has_room(self) -> bool:
        """Whether more can be sent without waiting."""

    def prepare(self) -> None:
        """Before the first reading is learnt: looks whether all can be sent. Raises what a user can mend."""

    def close(self, timeout_s: float) -> None: ...

    def flush(self, timeout_s: float) -> None:
        """Raises TimeoutError if something is not delivered by then, or the error that a send met."""
