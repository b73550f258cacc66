"""Where a checkpoint lies: `<url>/<group>/<topic>/<topic id>/<partition>/<next offset>-<uuid>/`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import quote

STATE = "state.safetensors"
MANIFEST = "manifest.json"
LONGEST = 200
"""Bytes of a folder's name; most file systems take 255."""

_FOLDER = re.compile(r"(\d{1,19})-([0-9a-f]{32})")
_METADATA = re.compile(r"([0-9a-f]{32}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """The name of a checkpoint's folder."""

    next_offset: int
    uuid: str  # 32 hexadecimal digits

    def __str__(self) -> str:
        return f"{self.next_offset}-{self.uuid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The checkpoint that a committed offset's metadata names."""

    uuid: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.uuid}:{self.sha256}"


def parse_folder(name: str) -> Folder | None:
    """None for a folder that is no checkpoint's."""
    found = _FOLDER.fullmatch(name)
    return Folder(next_offset=int(found[1]), uuid=found[2]) if found else None


def parse_metadata(metadata: str) -> Named | None:
    """None where metadata names no checkpoint: empty, or written by another program."""
    found = _METADATA.fullmatch(metadata)
    return Named(uuid=found[1], sha256=found[2]) if found else None


def encode_name(name: str) -> str:
    """A group or topic as one folder name: what isn't a letter, digit or one of `_.-~` as %XX.

    Different names stay different. Raises ValueError for an empty one.
    """
    if not name:
        raise ValueError("expected the name of a group or topic, got an empty one")
    text = quote(name, safe="")
    if not text.strip("."):
        text = text.replace(".", "%2E")  # `.` and `..` mean other folders
    if len(text) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()
        text = f"{text[: LONGEST - 1 - len(digest)]}~{digest}"
    return text
