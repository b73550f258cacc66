"""Makes a checkpoint the truth again: commits its offset and name for the group, while no worker runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pipeline.ports import Position
from pipeline.store import (
    CheckpointStore,
    Folder,
    Manifest,
    describe_partitions,
    take_newest,
)


class AdoptionError(Exception):
    """A checkpoint can't be adopted: one sentence that names the way out."""


ReadT = TypeVar("ReadT")
PATIENCE_S = 30.0
"""A broker that was just started, or a group's coordinator that moves, is back within seconds."""


class GroupAdmin(Protocol):
    """What of kafka-python's KafkaAdminClient is used here."""

    def describe_groups(self, group_ids: list[str]) -> Mapping[str, Mapping[str, Any]]: ...
    def describe_topics(self, topics: list[str]) -> Sequence[Mapping[str, Any]]: ...
    def list_group_offsets(self, group_specs: Mapping[str, Any]) -> Mapping[str, Mapping[Any, Any]]: ...
    def alter_group_offsets(self, group_id: str, offsets: Mapping[Any, Any]) -> Mapping[Any, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as it is now; deleted and made anew, it has another id."""

    name: str
    id: str
    num_partitions: int


def describe_topic(admin: GroupAdmin, name: str) -> Topic:
    """Raises AdoptionError for a topic that the broker doesn't have."""
    found = next(iter(admin.describe_topics([name])), None)
    if found is None or found.get("error_code"):
        raise AdoptionError(f"expected a topic {name!r}, but the broker has none; check --topic")
    return Topic(name=name, id=str(found["topic_id"]), num_partitions=len(found["partitions"]))


def read_committed(admin: GroupAdmin, group: str) -> dict[tuple[str, int], Position]:
    """By topic and partition; those without a committed offset are left out."""
    found = admin.list_group_offsets({group: None})[group]
    return {
        (place.topic, place.partition): Position(offset=said.offset, metadata=said.metadata or "")
        for place, said in found.items()
        if said.offset >= 0
    }


def select_checkpoint(store: CheckpointStore, topic: Topic, partition: int, at: int | None) -> Manifest:
    """The newest whole one of this topic id, its hash verified; `at`: none above this offset.

    Raises AdoptionError where there is none, or where its topic had another number of partitions.
    """
    folders: Iterable[Folder] = store.list_folders(topic.id, partition)
    if at is not None:
        folders = [folder for folder in folders if folder.next_offset <= at]
    notes: list[str] = []
    place = f"partition {partition} of topic {topic.name}"

    def read(folder: Folder) -> Manifest:
        return store.verify(topic.id, partition, folder)

    manifest = take_newest(read, folders, place, notes)
    if manifest is None:
        bound = "" if at is None else f" at or below offset {at}"
        seen = f" ({'; '.join(notes)})" if notes else ""
        raise AdoptionError(
            f"{place}: expected a whole checkpoint of topic id {topic.id}{bound} in "
            f"{store.describe_place(topic.id, partition)}, but there is none{seen}; "
            "`gatecast checkpoints list` shows what there is"
        )
    if manifest.num_partitions != topic.num_partitions:
        raise AdoptionError(describe_partitions(store, manifest, topic.num_partitions))
    return manifest


def adopt(admin: GroupAdmin, group: str, topic: str, chosen: Mapping[int, Manifest]) -> None:
    """Commit offset and name of each partition's checkpoint. Raises AdoptionError, KafkaError.

    A group with live members is left alone: their commits would undo this one, or be undone by it.
    """
    from kafka.errors import NoError  # type: ignore[import-untyped,unused-ignore]
    from kafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped,unused-ignore]

    members = admin.describe_groups([group])[group].get("members") or []
    if members:
        hosts = sorted({str(member.get("client_host", "?")).lstrip("/") for member in members})
        raise AdoptionError(
            f"expected a group without members, but {group} has {len(members)} (on {', '.join(hosts)}); stop "
            "its workers, then adopt"
        )
    offsets = {
        TopicPartition(topic, partition): OffsetAndMetadata(manifest.next_offset, manifest.metadata, -1)
        for partition, manifest in chosen.items()
    }
    answers = admin.alter_group_offsets(group, offsets)
    refused = {place.partition: answers.get(place) for place in offsets if answers.get(place) is not NoError}
    if refused:
        words = ", ".join(f"{p} ({getattr(e, '__name__', 'no answer')})" for p, e in sorted(refused.items()))
        raise AdoptionError(
            f"the broker refused the offsets of group {group} for partition {words}; the others are "
            "committed; make sure that no worker runs, then adopt again"
        )


def ask_patiently(ask: Callable[[], ReadT], patience_s: float = PATIENCE_S) -> ReadT:
    """What `ask` returns; asks again while Kafka says that it may soon work. Raises KafkaError."""
    from kafka.errors import KafkaError

    deadline = time.monotonic() + patience_s
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
        time.sleep(0.5)
