"""What lies below a URL, over all groups and topics: for the operator's commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from pipeline.store import files
from pipeline.store.checkpoints import CheckpointStore
from pipeline.store.manifests import Manifest, UnreadableError
from pipeline.store.paths import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A folder of a checkpoint: its manifest, or the problem that it has."""

    group: str
    topic: str
    topic_id: str
    partition: int
    folder: Folder
    manifest: Manifest | None
    problem: str = ""


def open_store(url: str, group: str, topic: str) -> CheckpointStore:
    """Raises ValueError for an empty name and where nothing installed here reads such a URL."""
    fs, root = files.open_file_system(url)
    return CheckpointStore(fs, root, group, topic)


def find_checkpoints(
    url: str, group: str | None = None, topic: str | None = None, *, verify: bool = False
) -> Iterator[Found]:
    """Everything below a URL, or of one group or topic, in the order of places and offsets.

    verify: read the states as well and compare their hashes. Raises as `open_store`, and OSError.
    """
    fs, root = files.open_file_system(url)
    for one_group in _names(fs, root, group):
        for one_topic in _names(fs, f"{root}/{one_group}", topic):
            yield from _search(CheckpointStore(fs, root, unquote(one_group), unquote(one_topic)), verify)


def _names(fs: files.FileSystem, path: str, only: str | None) -> list[str]:
    """Folder names; a group's whose name was too long for a folder can't be told from its folder."""
    names = files.list_folders(fs, path)
    return names if only is None else [name for name in names if unquote(name) == only]


def _search(store: CheckpointStore, verify: bool) -> Iterator[Found]:
    for topic_id in store.list_topic_ids():
        for partition in store.list_partitions(topic_id):
            for folder in store.list_folders(topic_id, partition):
                manifest, problem = None, ""
                try:
                    read = store.verify if verify else store.read_manifest
                    manifest = read(topic_id, partition, folder)
                except UnreadableError as error:
                    problem = str(error)
                yield Found(
                    group=store.group,
                    topic=store.topic,
                    topic_id=topic_id,
                    partition=partition,
                    folder=folder,
                    manifest=manifest,
                    problem=problem,
                )
