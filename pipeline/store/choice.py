"""Which checkpoint a partition's new owner takes: what the committed offset says, and no guess.

| committed offset | checkpoints | choice |
| --- | --- | --- |
| names one | it is whole | that one |
| names one | it is damaged or gone | the newest whole one below, said aloud; none: refuse |
| says that a start was fresh | any | start fresh at that offset |
| names none | a whole one at or below | the newest such one, said aloud |
| names none | none at or below | refuse |
| none | some | refuse until `gatecast checkpoints adopt` |
| none | none | start fresh |
| any | of another topic id only | refuse |
| any | the one to load has another number of partitions | refuse |

A checkpoint older than the committed offset is read on from its own offset, so what lies between is learnt
once, in the state that goes on; its forecasts are sent a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from pipeline.ports import Position
from pipeline.store.checkpoints import Checkpoint, CheckpointStore
from pipeline.store.manifests import HalfWrittenError, Manifest, UnreadableError
from pipeline.store.paths import Folder, parse_metadata

FRESH = "fresh"
"""Metadata of the commit with which a fresh start begins, before its first reading. Without it a worker that
is killed between its first checkpoint and the commit would leave checkpoints that no offset names, and one
that started at `latest` would skip what came meanwhile."""

ReadT = TypeVar("ReadT")
Start: TypeAlias = Literal["earliest", "latest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Take this checkpoint and read on from its `next_offset`. notes: what to say aloud, in sentences."""

    checkpoint: Checkpoint
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh:
    """Start with nothing learnt, at an offset or an end of the log. Where it is an end: before the first
    reading, commit the offset that it turned out to be with the metadata `FRESH`."""

    start: int | Start


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Leave the partition alone; reason: a sentence that names the way out."""

    reason: str


Choice: TypeAlias = Load | Fresh | Refuse


def choose(
    store: CheckpointStore,
    committed: Position | None,
    topic_id: str,
    partition: int,
    num_partitions: int,
    start: Start,
    numerics: dict[str, str | int] | None = None,
) -> Choice:
    """Reads the store and nothing else; changes nothing. Raises OSError where the storage fails.

    numerics: of this worker, as `describe_numerics`; where those of the checkpoint differ, a note says so.
    """
    place = f"partition {partition} of topic {store.topic}"
    folders = store.list_folders(topic_id, partition)
    if committed is not None and committed.metadata == FRESH:
        return Fresh(start=committed.offset)
    other = None if folders else _find_other_topic(store, topic_id, partition)
    if other is not None:
        return Refuse(
            reason=f"{place} has topic id {topic_id}, but the checkpoints are of {other}: the topic was "
            "deleted and made anew, so their offsets mean other readings; to start fresh, take "
            f"{store.describe_place(other)} away and delete the offsets of group {store.group}, or set "
            "another kafka.group"
        )
    if committed is None:
        return _choose_uncommitted(store, topic_id, partition, num_partitions, start, place)

    notes: list[str] = []
    named = parse_metadata(committed.metadata)
    if named is not None:
        exact = Folder(next_offset=committed.offset, uuid=named.uuid)
        try:
            checkpoint = store.load(topic_id, partition, exact)
            if checkpoint.manifest.state_sha256 != named.sha256:
                raise UnreadableError("its SHA-256 is not the one that was committed")
            return _accept(store, checkpoint, num_partitions, notes, numerics, place)
        except UnreadableError as error:
            notes.append(f"{place}: the committed checkpoint {exact} can't be taken: {error}")
        candidates = [f for f in folders if f.next_offset < committed.offset]
    else:
        notes.append(
            f"{place}: the committed offset {committed.offset} names no checkpoint"
            + (f" (its metadata is {committed.metadata!r:.80})" if committed.metadata else "")
            + ", as after a reset by an operator"
        )
        candidates = [f for f in folders if f.next_offset <= committed.offset]
    found = take_newest(lambda f: store.load(topic_id, partition, f), candidates, place, notes)
    if found is None:
        return Refuse(
            reason=f"{'; '.join(notes)}; there is no whole one {'below' if named else 'at or below'} to "
            f"take; put one back into {store.describe_place(topic_id, partition)}, or, to start fresh, take "
            f"that folder away and delete the committed offset of group {store.group}"
        )
    notes.append(
        f"{place}: took {found.manifest.next_offset}-{found.manifest.uuid}, reading on from offset "
        f"{found.manifest.next_offset} instead of {committed.offset}"
    )
    return _accept(store, found, num_partitions, notes, numerics, place)


def take_newest(
    read: Callable[[Folder], ReadT], folders: Iterable[Folder], place: str, notes: list[str]
) -> ReadT | None:
    """The whole one with the highest offset; those that are passed over go into `notes`."""
    for folder in sorted(folders, key=lambda f: f.next_offset, reverse=True):
        try:
            return read(folder)
        except UnreadableError as error:
            notes.append(f"{place}: checkpoint {folder} can't be taken either: {error}")
    return None


def _accept(
    store: CheckpointStore,
    checkpoint: Checkpoint,
    num_partitions: int,
    notes: list[str],
    numerics: dict[str, str | int] | None,
    place: str,
) -> Load | Refuse:
    manifest = checkpoint.manifest
    if manifest.num_partitions != num_partitions:
        return Refuse(reason=describe_partitions(store, manifest, num_partitions))
    if numerics is not None and numerics != manifest.numerics:
        changed = [
            f"{key} {manifest.numerics.get(key, 'unknown')} → {numerics.get(key, 'unknown')}"
            for key in sorted(manifest.numerics.keys() | numerics.keys())
            if manifest.numerics.get(key) != numerics.get(key)
        ]
        notes.append(
            f"{place}: the checkpoint was written with other numerics ({', '.join(changed)}); from here on "
            "the state may differ in last bits from an uninterrupted run"
        )
    return Load(checkpoint=checkpoint, notes=tuple(notes))


def describe_partitions(store: CheckpointStore, manifest: Manifest, num_partitions: int) -> str:
    return (
        f"topic {store.topic} has {num_partitions} partitions, but its checkpoints were written with "
        f"{manifest.num_partitions}, so series may have moved between shards; set another kafka.group "
        f"to start fresh, or read from a topic with {manifest.num_partitions} partitions"
    )


def _find_other_topic(store: CheckpointStore, topic_id: str, partition: int) -> str | None:
    """Another topic id with checkpoints of this partition."""
    others = (other for other in store.list_topic_ids() if other != topic_id)
    return next((other for other in others if store.list_folders(other, partition)), None)


def _choose_uncommitted(
    store: CheckpointStore, topic_id: str, partition: int, num_partitions: int, start: Start, place: str
) -> Fresh | Refuse:
    """No committed offset: fresh only where no checkpoint says that this group has been here."""
    for one in [partition, *(p for p in store.list_partitions(topic_id) if p != partition)]:
        for folder in reversed(store.list_folders(topic_id, one)):
            manifest = None
            try:
                manifest = store.read_manifest(topic_id, one, folder)
            except HalfWrittenError:
                continue
            except UnreadableError:  # damaged, but it was a checkpoint
                pass
            if manifest and manifest.num_partitions != num_partitions:
                return Refuse(reason=describe_partitions(store, manifest, num_partitions))
            if one == partition:
                return Refuse(
                    reason=f"{place} has checkpoints (the newest is {folder}), but group {store.group} has "
                    "no committed offset there (offsets expire when a group stands still for a week); run "
                    f"`gatecast checkpoints adopt --partition {partition}` to go on from the newest whole "
                    f"one, or take {store.describe_place(topic_id, partition)} away to start fresh"
                )
            if manifest:
                break
    return Fresh(start=start)
