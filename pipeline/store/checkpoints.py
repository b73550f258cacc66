"""Checkpoints of one group and topic, below any fsspec URL."""

from __future__ import annotations

import hashlib
import logging
import posixpath
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote

import safetensors.torch
import torch

from pipeline.ports import Position
from pipeline.store import files
from pipeline.store.manifests import (
    FORMAT,
    HalfWrittenError,
    Manifest,
    UnreadableError,
    WrongFormatError,
    format_manifest,
    parse_manifest,
    read_facts,
)
from pipeline.store.paths import MANIFEST, STATE, Folder, encode_name, parse_folder, parse_metadata
from pipeline.store.retention import Kept, select_surplus
from pipeline.store.tensors import serialise

logger = logging.getLogger(__name__)


def read_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A whole checkpoint, its hash verified."""

    manifest: Manifest
    state: dict[str, torch.Tensor] = field(repr=False)


class CheckpointStore:
    """`<url>/<group>/<topic>/<topic id>/<partition>/<next offset>-<uuid>/`: the state, then the manifest.

    A folder without a manifest was never finished and is not taken. Nothing is overwritten or renamed, so any
    number of workers may write at the same time; which checkpoint counts is what the group's committed offset
    says. Safe to use from several threads. All methods raise OSError where the storage fails.
    """

    def __init__(
        self,
        fs: files.FileSystem,
        root: str,
        group: str,
        topic: str,
        clock: Callable[[], datetime] = read_clock,
    ) -> None:
        self.group = group
        self.topic = topic
        self._fs = fs
        self._root = root
        self._topic_root = posixpath.join(root, encode_name(group), encode_name(topic))
        self._clock = clock

    # -- writing -----------------------------------------------------------------------------------------

    def write(
        self,
        topic_id: str,
        partition: int,
        offset: int,
        state: Mapping[str, torch.Tensor],
        facts: Mapping[str, object],
    ) -> str:
        """Write state, then manifest; returns the metadata to commit, `uuid:sha256`.

        On a local disk both are on it, not only in its cache, when this returns. facts: the fields of
        `Facts`. Raises OSError, and ValueError for facts that aren't any; what was written
        so far is then taken away again as far as the storage lets us.
        """
        about = read_facts(facts)
        name = Folder(next_offset=offset, uuid=uuid.uuid4().hex)
        folder = self._place(topic_id, partition, name)
        try:
            files.make_folder(self._fs, folder, self._root)
            digest = hashlib.sha256()
            size = files.write_file(
                self._fs, posixpath.join(folder, STATE), _hashed(serialise(state), digest)
            )
            manifest = Manifest(
                format=FORMAT,
                software=version("gatecast"),
                group=self.group,
                topic=self.topic,
                topic_id=topic_id,
                partition=partition,
                num_partitions=about.num_partitions,
                next_offset=offset,
                uuid=name.uuid,
                written_at=self._clock(),
                signatures=about.signatures,
                counts=about.counts,
                numerics=about.numerics,
                state_bytes=size,
                state_sha256=digest.hexdigest(),
            )
            files.write_file(self._fs, posixpath.join(folder, MANIFEST), [format_manifest(manifest)])
        except BaseException:
            self._remove(folder)
            raise
        return manifest.metadata

    # -- reading -----------------------------------------------------------------------------------------

    def list_topic_ids(self) -> list[str]:
        """Of all topics of this name that left folders here, one after the other deleted and made anew."""
        return [unquote(name) for name in files.list_folders(self._fs, self._topic_root)]

    def list_partitions(self, topic_id: str) -> list[int]:
        names = files.list_folders(self._fs, posixpath.join(self._topic_root, encode_name(topic_id)))
        return sorted(int(name) for name in names if name.isdecimal())

    def list_folders(self, topic_id: str, partition: int) -> list[Folder]:
        """All checkpoints that were begun, by offset; among them may be half-written and damaged ones."""
        names = files.list_folders(self._fs, self._partition_root(topic_id, partition))
        found = [folder for name in names if (folder := parse_folder(name))]
        return sorted(found, key=lambda folder: (folder.next_offset, folder.uuid))

    def read_manifest(self, topic_id: str, partition: int, folder: Folder) -> Manifest:
        """Raises UnreadableError (WrongFormatError) where there is none or it doesn't belong there."""
        try:
            data = self._read(topic_id, partition, folder, MANIFEST)
        except FileNotFoundError as error:
            raise HalfWrittenError("it has no manifest, so its write was never finished") from error
        manifest = parse_manifest(data)
        said = (manifest.group, manifest.topic, manifest.topic_id, manifest.partition)
        where = (self.group, self.topic, topic_id, partition)
        if said != where or (manifest.next_offset, manifest.uuid) != (folder.next_offset, folder.uuid):
            raise UnreadableError(f"its manifest is of another place: {said}, offset {manifest.next_offset}")
        return manifest

    def load(self, topic_id: str, partition: int, folder: Folder) -> Checkpoint:
        """Read and verify. Raises UnreadableError where it is not, bit for bit, what was written."""
        manifest = self.read_manifest(topic_id, partition, folder)
        try:
            data = self._read(topic_id, partition, folder, STATE)
        except FileNotFoundError as error:
            raise UnreadableError(f"its {STATE} is missing") from error
        _compare(manifest, len(data), hashlib.sha256(data).hexdigest())
        return Checkpoint(manifest=manifest, state=safetensors.torch.load(data))

    def verify(self, topic_id: str, partition: int, folder: Folder) -> Manifest:
        """As `load`, but only reads, a block at a time. Raises UnreadableError."""
        manifest = self.read_manifest(topic_id, partition, folder)
        digest = hashlib.sha256()
        path = posixpath.join(self._place(topic_id, partition, folder), STATE)
        try:
            size = sum(len(block) for block in _hashed(files.read_blocks(self._fs, path), digest))
        except FileNotFoundError as error:
            raise UnreadableError(f"its {STATE} is missing") from error
        _compare(manifest, size, digest.hexdigest())
        return manifest

    # -- taking away -------------------------------------------------------------------------------------

    def prune(
        self, topic_id: str, partition: int, committed: Position, *, keep: int = 3, daily_days: int = 7
    ) -> list[Folder]:
        """Take away what `select_surplus` says may go; returns it. For the owner alone, after its commit.

        Checkpoints of another format stay: the version that wrote them may come back.
        """
        kept = []
        for folder in self.list_folders(topic_id, partition):
            try:
                written_at: datetime | None = self.read_manifest(topic_id, partition, folder).written_at
                whole = True
            except WrongFormatError:
                continue
            except UnreadableError:
                written_at = files.find_age(self._fs, self._place(topic_id, partition, folder))
                whole = False
            kept.append(Kept(folder=folder, whole=whole, written_at=written_at))
        named = parse_metadata(committed.metadata)
        surplus = select_surplus(
            kept,
            committed.offset,
            named.uuid if named else "",
            keep=keep,
            daily_days=daily_days,
            now=self._clock(),
        )
        for folder in surplus:
            self._remove(self._place(topic_id, partition, folder))
        return surplus

    def _remove(self, folder: str) -> None:
        """The manifest first: what is left of a checkpoint that is being taken away is never a whole one."""
        for name in (MANIFEST, STATE):
            try:
                self._fs.rm_file(posixpath.join(folder, name))
            except FileNotFoundError:
                pass
            except OSError as error:
                logger.warning("cannot remove %s of %s: %s", name, folder, error)
        files.remove_folder(self._fs, folder)

    # -- places ------------------------------------------------------------------------------------------

    def _partition_root(self, topic_id: str, partition: int) -> str:
        return posixpath.join(self._topic_root, encode_name(topic_id), str(partition))

    def _place(self, topic_id: str, partition: int, folder: Folder) -> str:
        return posixpath.join(self._partition_root(topic_id, partition), str(folder))

    def describe_place(
        self, topic_id: str, partition: int | None = None, folder: Folder | None = None
    ) -> str:
        """A URL for people."""
        parts = [self._topic_root, encode_name(topic_id)]
        parts += [str(part) for part in (partition, folder) if part is not None]
        return str(self._fs.unstrip_protocol(posixpath.join(*parts)))

    def _read(self, topic_id: str, partition: int, folder: Folder, name: str) -> bytes:
        return bytes(self._fs.cat_file(posixpath.join(self._place(topic_id, partition, folder), name)))


def _hashed(pieces: Iterable[Any], digest: Any) -> Iterator[Any]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _compare(manifest: Manifest, size: int, sha256: str) -> None:
    if size != manifest.state_bytes:
        raise UnreadableError(f"its {STATE} has {size} bytes, but {manifest.state_bytes} were written")
    if sha256 != manifest.state_sha256:
        raise UnreadableError(f"its {STATE} was changed after it was written: the SHA-256 differs")
