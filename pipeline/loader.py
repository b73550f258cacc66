"""Brings a partition's state up, aside: which checkpoint counts, the shard, and where to read on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from pipeline.codec import Codec
from pipeline.engine.settings import Settings
from pipeline.engine.shard import Shard
from pipeline.holdings import Loaded, Refused
from pipeline.pool import Pool
from pipeline.ports import Partition, Position, Source, SourceUnavailable, TopicFacts
from pipeline.store import FRESH, Choice, Fresh, Load, Refuse

RETRY_S = 1.0

log = logging.getLogger(__name__)

Choose = Callable[[Partition, Position | None, TopicFacts], Choice]
MakeShard = Callable[[Partition, TopicFacts, Settings], Shard]


class Loader:
    """Loads one shard at a time, so that a worker that gets many starts the first ones early."""

    def __init__(
        self, choose: Choose, make_shard: MakeShard, make_codec: Callable[[], Codec], settings: Settings
    ) -> None:
        """settings: what is declared of a series now; a shard takes it over when it is loaded."""
        self.settings = settings
        self._choose, self._make_shard, self._make_codec = choose, make_shard, make_codec
        self._thread = Pool(1, "load")
        self._closed = threading.Event()

    def load(
        self,
        source: Source,
        partition: Partition,
        is_wanted: Callable[[], bool],
        tell: Callable[[str], None] = lambda _: None,
    ) -> Future[Loaded | Refused]:
        """What comes of it. While the broker or the storage is away, `is_wanted` is asked, to give up in
        time, and `tell` hears why; both on another thread."""
        return self._thread.submit(self._load, source, partition, is_wanted, tell)

    def close(self) -> None:
        """Gives up what is still waiting."""
        self._closed.set()
        self._thread.close()

    def _load(
        self,
        source: Source,
        partition: Partition,
        is_wanted: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> Loaded | Refused:
        while is_wanted() and not self._closed.is_set():
            try:
                return self._try(source, partition)
            except (SourceUnavailable, OSError) as error:
                log.warning("%s/%s can't be loaded yet: %s", *partition, error)
                tell(str(error))
                self._closed.wait(RETRY_S)
        return Refused(reason="given up")

    def _try(self, source: Source, partition: Partition) -> Loaded | Refused:
        facts = source.topic_facts(partition.topic)
        choice = self._choose(partition, source.committed(partition), facts)
        if isinstance(choice, Refuse):
            return Refused(reason=choice.reason)
        settings = self.settings
        shard = self._make_shard(partition, facts, settings)
        if isinstance(choice, Load):
            manifest = choice.checkpoint.manifest
            try:
                notes = shard.load(choice.checkpoint.state, manifest.signatures)
            except (KeyError, ValueError) as error:
                return Refused(
                    reason=f"the checkpoint at offset {manifest.next_offset}, written by gatecast "
                    f"{manifest.software}, can't be carried over into this configuration ({error}); restore "
                    "the one that wrote it, or set another kafka.group to start fresh"
                )
            alerts = shard.declare(settings)
            position = Position(offset=manifest.next_offset, metadata=manifest.metadata)
            place = f"partition {partition.partition} of topic {partition.topic}"
            return Loaded(
                shard=shard, codec=self._make_codec(), facts=facts, position=position, is_fresh=False,
                settings=settings, alerts=tuple(alerts),
                notes=(*choice.notes, *(f"{place}: {note}" for note in notes)),
            )  # fmt: skip
        assert isinstance(choice, Fresh)
        offset = choice.start
        if isinstance(offset, str):
            begin, end = source.bounds(partition)
            offset = begin if offset == "earliest" else end
        return Loaded(
            shard=shard, codec=self._make_codec(), facts=facts,
            position=Position(offset=offset, metadata=FRESH), is_fresh=True,
            settings=settings,
        )  # fmt: skip
