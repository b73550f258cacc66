"""The manifest of a checkpoint: what it is, of which log prefix, and the hash of its state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

import msgspec
import torch

FORMAT = 1
READABLE = (1,)
"""Formats that this version reads: its own and the one before. `tests/unit/store/golden` has one of each."""


class UnreadableError(Exception):
    """A checkpoint that can't be taken: half-written, damaged, or of a format that isn't read here."""


class HalfWrittenError(UnreadableError):
    """Its write was never finished: it has no manifest."""


class WrongFormatError(UnreadableError):
    """Of another version of Gatecast; not damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the writer of a checkpoint says about it.

    signatures: of the components of the state; counts: such as `series` and `readings_learned`; numerics:
    what bit-equality depends on, by default of this process on its CPU.
    """

    num_partitions: int
    signatures: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    numerics: dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    format: int
    software: str
    group: str
    topic: str
    topic_id: str
    partition: int
    num_partitions: int
    next_offset: int  # of the first reading that isn't learnt yet
    uuid: str
    written_at: datetime  # UTC
    signatures: dict[str, str]
    counts: dict[str, int]
    numerics: dict[str, str | int]
    state_bytes: int
    state_sha256: str

    @property
    def metadata(self) -> str:
        """What a commit says to name this checkpoint."""
        return f"{self.uuid}:{self.state_sha256}"


def describe_numerics(device: str = "cpu") -> dict[str, str | int]:
    """What last bits depend on: version of torch, kind of processor, number of threads."""
    if torch.device(device).type == "cuda":
        processor = torch.cuda.get_device_name(torch.device(device))
    else:
        processor = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "device": processor, "threads": torch.get_num_threads()}


def read_facts(facts: Mapping[str, object]) -> Facts:
    """Raises ValueError for an unknown or missing fact, or one of the wrong type."""
    known = [f.name for f in fields(Facts)]
    unknown = sorted(set(facts) - set(known))
    if unknown:
        raise ValueError(f"facts: expected some of {', '.join(known)}, got {unknown[0]!r}")
    try:
        return msgspec.convert({"numerics": describe_numerics(), **facts}, Facts)
    except msgspec.ValidationError as error:
        raise ValueError(f"facts of a checkpoint: {error}") from error


def format_manifest(manifest: Manifest) -> bytes:
    content = {**asdict(manifest), "written_at": manifest.written_at.isoformat()}
    content["checksum"] = _checksum(content)
    return json.dumps(content, indent=1).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest:
    """Raises WrongFormatError where another version wrote it, UnreadableError where it was changed."""
    try:
        content: Any = json.loads(data)
    except ValueError as error:
        raise UnreadableError(f"its manifest is no JSON ({error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise UnreadableError("its manifest has no format version")
    if content["format"] not in READABLE:
        read = " and ".join(str(version) for version in READABLE)
        raise WrongFormatError(
            f"it has format {content['format']}, written by Gatecast {content.get('software', '?')}, but "
            f"this version reads format {read}"
        )
    if content.pop("checksum", None) != _checksum(content):
        raise UnreadableError("its manifest was changed after it was written")
    try:
        return msgspec.convert(content, Manifest)
    except msgspec.ValidationError as error:
        raise UnreadableError(f"its manifest lacks something ({error})") from error


def _checksum(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
