"""Checkpoints of shards, below any fsspec URL."""

from pipeline.store.checkpoints import Checkpoint, CheckpointStore
from pipeline.store.choice import FRESH, Choice, Fresh, Load, Refuse, choose, describe_partitions, take_newest
from pipeline.store.manifests import Facts, Manifest, UnreadableError, WrongFormatError, describe_numerics
from pipeline.store.paths import Folder
from pipeline.store.shelves import Found, find_checkpoints, open_store

__all__ = [
    "FRESH",
    "Checkpoint",
    "CheckpointStore",
    "Choice",
    "Facts",
    "Folder",
    "Found",
    "Fresh",
    "Load",
    "Manifest",
    "Refuse",
    "UnreadableError",
    "WrongFormatError",
    "choose",
    "describe_numerics",
    "describe_partitions",
    "find_checkpoints",
    "open_store",
    "take_newest",
]
