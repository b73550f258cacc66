"""Files and folders of any fsspec file system. A local disk is asked to keep what it was given."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeAlias

from fsspec import AbstractFileSystem  # type: ignore[import-untyped,unused-ignore]
from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped,unused-ignore]

FileSystem: TypeAlias = AbstractFileSystem

BLOCK_BYTES = 1 << 22


def open_file_system(url: str) -> tuple[FileSystem, str]:
    """(file system, path). Raises ValueError where nothing installed here reads such a URL."""
    try:
        fs, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"checkpoints: expected a folder or a URL that fsspec knows, such as s3://bucket/gatecast, got "
            f"{url!r} ({error})"
        ) from error
    return fs, str(root)


def make_folder(fs: FileSystem, path: str, root: str) -> None:
    """A folder with those above it; on a local disk their names last when this returns."""
    if not isinstance(fs, LocalFileSystem):
        fs.makedirs(path, exist_ok=True)
        return
    missing = [path]
    while not os.path.isdir(parent := posixpath.dirname(missing[-1])):
        missing.append(parent)
    os.makedirs(path, exist_ok=True)
    for made in missing:
        _sync_folder(posixpath.dirname(made))


def write_file(fs: FileSystem, path: str, pieces: Iterable[bytes | memoryview]) -> int:
    """Write a new file; returns its bytes. On a local disk it lasts when this returns."""
    local = isinstance(fs, LocalFileSystem)
    size = 0
    # most object stores know no exclusive mode; the name is drawn at random, so nothing is there
    with fs.open(path, "xb" if local else "wb") as file:
        for piece in pieces:
            file.write(piece)
            size += len(piece)
        if local:
            file.flush()
            os.fsync(file.fileno())
    if local:
        _sync_folder(posixpath.dirname(path))
    return size


def read_blocks(fs: FileSystem, path: str) -> Iterator[bytes]:
    with fs.open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def list_folders(fs: FileSystem, path: str) -> list[str]:
    """Names of the folders in a folder, in order; none where it isn't there."""
    fs.invalidate_cache()  # object stores remember listings, other workers change them
    try:
        found = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    return sorted(
        posixpath.basename(entry["name"].rstrip("/")) for entry in found if entry["type"] == "directory"
    )


def find_age(fs: FileSystem, folder: str) -> datetime | None:
    """When a folder was last written to; None where the storage doesn't say."""
    times = []
    for path in [*fs.find(folder), folder]:
        try:
            modified = fs.modified(path)
        except (OSError, NotImplementedError, KeyError):
            continue
        times.append(modified if modified.tzinfo else modified.replace(tzinfo=UTC))
    return max(times, default=None)


def remove_folder(fs: FileSystem, path: str) -> None:
    """Take away a folder that should be empty. Object stores have none to take away."""
    try:
        fs.rmdir(path)
    except (OSError, NotImplementedError, ValueError):
        return


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
